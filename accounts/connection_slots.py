"""Each account belongs to one connection slot of its broker and type."""

from django.db import IntegrityError, transaction
from django.db.models import Count, Max

from accounts.models.account import Account
from accounts.models.connection import BrokerConnection
from brokers.registry import connector_class

FIRST_CLIENT_ID = 101
ATTEMPTS = 5


def assign_slot(account: Account) -> None:
    """Gives the account a slot with room, made if there is none; one that fits already is kept.

    Raises:
        UnknownBroker: no connector is registered under the account's broker.
    """
    slot = account.connection if account.connection_id else None
    if slot is not None and (slot.broker, slot.environment) == (account.broker, account.type):
        return
    room = connector_class(account.broker).capabilities.accounts_per_connection
    with_room = (
        BrokerConnection.objects.filter(broker=account.broker, environment=account.type)
        .annotate(taken=Count("accounts"))
        .filter(taken__lt=room)
        .order_by("client_id")
        .first()
    )
    account.connection = with_room or _new_slot(account.broker, account.type)


def _new_slot(broker: str, environment: str) -> BrokerConnection:
    """A slot with the next free client id; two that are made at once get different ones."""
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
