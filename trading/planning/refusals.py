"""Complete the calculator's refusals with what it does not know: why a symbol has no quote, and the broker's notes."""

from collections.abc import Iterable

from brokers.broker_types import AccountSnapshot
from calculator import CalculationRefused
from trading.errors import Refused
from trading.models.run_documents import RunWarning
from trading.planning.quotes import UNTRADABLE

MAX_NAMED = 10
"""Number of symbols that a message explains."""


def explain_refusal(
    refusal: CalculationRefused,
    warnings: Iterable[RunWarning],
    snapshot: AccountSnapshot,
) -> Refused:
    """Return the refusal with the reason of each symbol without a quote, or the broker's notes on the account data.

    Args:
        refusal: refusal of the calculator.
        warnings: warnings about the quotes and the account.
        snapshot: account that was refused.
    """
    reasons: list[str] = []
    if refusal.code == "too_much_frozen":
        reasons = [warning.message for warning in warnings if warning.code in UNTRADABLE]
    elif refusal.code == "account_data_mismatch":
        reasons = [note.message for note in snapshot.notes]
    if len(reasons) > MAX_NAMED:
        reasons[MAX_NAMED:] = [f"And {len(reasons) - MAX_NAMED} more."]
    return Refused(refusal.code, " ".join([refusal.message, *reasons]))
