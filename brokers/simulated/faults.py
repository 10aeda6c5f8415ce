"""Scripted faults. The first process that reaches a fault uses it up."""

from django.db.models import F

from brokers.simulated.models import SimulatedFault

Kind = SimulatedFault.Kind


class ScriptedFaults:
    """The faults that are left, read once for all questions of one request or transaction."""

    def __init__(self) -> None:
        self._left = list(SimulatedFault.objects.filter(remaining__gt=0).order_by("id"))

    def take(self, kind: Kind, account_id: str = "", symbol: str = "") -> SimulatedFault | None:
        """Use up one fault of the kind for the account and symbol, if there is one."""
        for fault in self._left:
            if (
                fault.kind == kind
                and fault.account_id in {"", account_id}
                and fault.symbol in {"", symbol}
                and SimulatedFault.objects.filter(pk=fault.pk, remaining__gt=0).update(remaining=F("remaining") - 1)
            ):
                return fault
        return None


def take_fault(kind: Kind, account_id: str = "", symbol: str = "") -> SimulatedFault | None:
    """Use up one fault of the kind for the account and symbol, if there is one."""
    return ScriptedFaults().take(kind, account_id, symbol)


def set_fault(
    kind: Kind, *, account_id: str = "", symbol: str = "", times: int = 1, number: float = 0, message: str = ""
) -> SimulatedFault:
    """Script a fault."""
    return SimulatedFault.objects.create(
        kind=kind, account_id=account_id, symbol=symbol, remaining=times, number=number, message=message
    )
