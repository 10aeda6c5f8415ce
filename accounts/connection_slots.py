import zlib

from django.db import IntegrityError, transaction
from django.db.models import Count, Max

from accounts.models.account import Account
from accounts.models.connection import BrokerConnection
from brokers.registry import broker_names, connector_class

FIRST_CLIENT_ID = 101
FIRST_NUMBERED_CLIENT_ID = 1001
"""First client id of the slots that follow from account numbers; higher than those of other slots."""
ATTEMPTS = 5


def assign_slot(account: Account) -> None:
    """Assign a slot to the account, creating one if needed. A slot that fits is not changed.

    Raises:
        UnknownBroker: No connector is registered for the account's broker.
    """
    slot = account.connection if account.connection_id else None
    if slot is not None and (slot.broker, slot.environment) == (account.broker, account.type):
        return
    if (client_id := numbered_client_id(account)) is not None:
        account.connection = numbered_slot(account, client_id)
        return
    capacity = connector_class(account.broker).capabilities.accounts_per_connection
    fitting = BrokerConnection.objects.filter(broker=account.broker, environment=account.type)
    free = fitting.annotate(assigned=Count("accounts")).filter(assigned__lt=capacity)
    account.connection = free.order_by("client_id").first() or _new_slot(account.broker, account.type)


def numbered_client_id(account: Account) -> int | None:
    """Return the client id that follows from the account number; None if the broker's ids do not follow from it.

    It is the same in every installation, whatever other accounts that has: the broker allows one connection with it.
    """
    count = connector_class(account.broker).capabilities.client_ids
    if not count:
        return None
    digits = "".join(filter(str.isdecimal, account.account_id))
    # Account numbers are often consecutive: their digits distribute them evenly.
    number = int(digits) if digits else zlib.crc32(account.account_id.encode())
    return FIRST_NUMBERED_CLIENT_ID + number % count


def numbered_slot(account: Account, client_id: int) -> BrokerConnection:
    """Return the slot of the account's broker and environment with the client id, creating it if needed."""
    slot, _ = BrokerConnection.objects.get_or_create(
        broker=account.broker, environment=account.type, client_id=client_id
    )
    return slot


def accounts_in_other_slots() -> list[Account]:
    """Return the accounts whose slot has another client id than the one that follows from their number."""
    accounts = Account.objects.filter(broker__in=broker_names()).select_related("connection").order_by("account_id")
    wanted = ((account, numbered_client_id(account)) for account in accounts)
    return [account for account, client_id in wanted if client_id not in {None, account.connection.client_id}]


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
