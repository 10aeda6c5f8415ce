"""Scripted faults: each is used up one time after the other, by whichever process meets it first."""

from django.db.models import F

from brokers.simulated.models import SimulatedFault

Kind = SimulatedFault.Kind


def take_fault(kind: Kind, account_id: str = "", symbol: str = "") -> SimulatedFault | None:
    """Uses up one fault of the kind that fits the account and the symbol, if there is one."""
    fitting = SimulatedFault.objects.filter(
        kind=kind, account_id__in=("", account_id), symbol__in=("", symbol), remaining__gt=0
    )
    for fault in fitting.order_by("id"):
        if SimulatedFault.objects.filter(pk=fault.pk, remaining__gt=0).update(remaining=F("remaining") - 1):
            return fault
    return None


def set_fault(
    kind: Kind,
    *,
    account_id: str = "",
    symbol: str = "",
    times: int = 1,
    number: float = 0,
    message: str = "",
) -> SimulatedFault:
    """Scripts a fault."""
    return SimulatedFault.objects.create(
        kind=kind, account_id=account_id, symbol=symbol, remaining=times, number=number, message=message
    )
