"""Scripted faults. The first process that reaches a fault uses it up."""

from django.db.models import F

from brokers.simulated.models import SimulatedFault

Kind = SimulatedFault.Kind


def take_fault(kind: Kind, account_id: str = "", symbol: str = "") -> SimulatedFault | None:
    """Use up one fault of the kind for the account and symbol, if there is one."""
    matching = SimulatedFault.objects.filter(
        kind=kind, account_id__in=("", account_id), symbol__in=("", symbol), remaining__gt=0
    )
    for fault in matching.order_by("id"):
        if SimulatedFault.objects.filter(pk=fault.pk, remaining__gt=0).update(remaining=F("remaining") - 1):
            return fault
    return None


def set_fault(
    kind: Kind, *, account_id: str = "", symbol: str = "", times: int = 1, number: float = 0, message: str = ""
) -> SimulatedFault:
    """Script a fault."""
    return SimulatedFault.objects.create(
        kind=kind, account_id=account_id, symbol=symbol, remaining=times, number=number, message=message
    )
