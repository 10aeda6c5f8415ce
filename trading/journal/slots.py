"""Move accounts to the slot that follows from their account number, once no order of the present slot is open."""

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from accounts.connection_slots import accounts_in_other_slots, numbered_client_id, numbered_slot
from accounts.models import Account, BrokerConnection
from trading.models import OrderState, RunState


def move_accounts_to_their_slots() -> int:
    """Move the accounts that can move now, and return their number.

    An account keeps its slot while a run is in progress or an order may be open: only the client id that sent an order
    can cancel it.
    """
    return sum(_move(account) for account in accounts_in_other_slots())


def _move(account: Account) -> bool:
    client_id = numbered_client_id(account)
    if client_id is None:
        return False
    target = numbered_slot(account, client_id)
    with transaction.atomic():
        # Locked: the owner of a lease starts every write with this row.
        free = Q(lease_until__isnull=True) | Q(lease_until__lt=Now())
        # Both: no worker uses either slot while the account moves.
        slots = {account.connection_id, target.pk}
        locked = BrokerConnection.objects.select_for_update(no_key=True).filter(free, pk__in=slots).order_by("pk")
        if len(locked) < len(slots):
            return False
        unmoved = Account.objects.filter(pk=account.pk, connection=account.connection_id)
        busy = Q(runs__state=RunState.RUNNING) | Q(orders__state__in=OrderState.open_states())
        if unmoved.filter(busy).exists():
            return False
        return bool(unmoved.update(connection=target))
