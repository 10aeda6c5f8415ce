"""Complete the calculator's refusals with what it does not know: why a symbol has no quote, which position no price."""

from collections.abc import Iterable, Mapping

from brokers.broker_types import AccountSnapshot, ContractPrice
from calculator import CalculationRefused
from trading.errors import Refused
from trading.models.run_documents import RunWarning
from trading.planning.account_state import mark_of
from trading.planning.quotes import UNTRADABLE

MAX_NAMED = 10
"""Number of symbols that a message explains."""


def explain_refusal(
    refusal: CalculationRefused,
    warnings: Iterable[RunWarning],
    snapshot: AccountSnapshot,
    prices: Mapping[str, ContractPrice],
) -> Refused:
    """Return the refusal with the reason of each symbol without a quote, or what is missing in the account data.

    Args:
        refusal: refusal of the calculator.
        warnings: warnings about the quotes and the account.
        snapshot: account that was refused.
        prices: the broker's prices by symbol.
    """
    reasons: list[str] = []
    if refusal.code == "too_much_frozen":
        reasons = [warning.message for warning in warnings if warning.code in UNTRADABLE]
    elif refusal.code == "account_data_mismatch":
        reasons = [
            f"There is neither a mark nor a quote for {position.symbol} (contract {position.contract_id})."
            for position in snapshot.positions
            if position.quantity and mark_of(position, prices) is None
        ]
        reasons += [note.message for note in snapshot.notes]
    if len(reasons) > MAX_NAMED:
        reasons[MAX_NAMED:] = [f"And {len(reasons) - MAX_NAMED} more."]
    return Refused(refusal.code, " ".join([refusal.message, *reasons]))
