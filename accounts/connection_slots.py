from django.db import IntegrityError, transaction
from django.db.models import Count, Max

from accounts.models.account import Account
from accounts.models.connection import BrokerConnection
from brokers.registry import connector_class

FIRST_CLIENT_ID = 101
ATTEMPTS = 5


def assign_slot(account: Account) -> None:
    """Assign a slot with free capacity to the account, creating one if needed. A slot that fits is not changed.

    Raises:
        UnknownBroker: No connector is registered for the account's broker.
    """
    slot = account.connection if account.connection_id else None
    if slot is not None and (slot.broker, slot.environment) == (account.broker, account.type):
        return
    capacity = connector_class(account.broker).capabilities.accounts_per_connection
    fitting = BrokerConnection.objects.filter(broker=account.broker, environment=account.type)
    free = fitting.annotate(assigned=Count("accounts")).filter(assigned__lt=capacity)
    account.connection = free.order_by("client_id").first() or _new_slot(account.broker, account.type)


def _new_slot(broker: str, environment: str) -> BrokerConnection:
    """Create a slot with the next free client id. Slots that are created at the same time get different ids."""
    for attempt in range(1, ATTEMPTS + 1):
        highest = BrokerConnection.objects.aggregate(highest=Max("client_id"))["highest"]
        try:
            with transaction.atomic():
                return BrokerConnection.objects.create(
                    broker=broker, environment=environment, client_id=(highest or FIRST_CLIENT_ID - 1) + 1
                )
        except IntegrityError:
            if attempt == ATTEMPTS:
                raise
    raise AssertionError  # the loop returns or raises
