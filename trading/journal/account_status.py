"""Status of accounts for the pages: the only writer of `AccountStanding`, of value histories and of totals."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.utils import timezone

from brokers.broker_types import AccountPosition, AccountSnapshot, SecurityKind
from calculator import AccountState, Position
from calculator.band import BandComparison
from calculator.plan_types import CASH
from trading.journal.leases import Lease, fenced_transaction
from trading.models import AccountRefresh, AccountStanding, AccountValue, StandingState, TotalValue

MAX_POSITIONS = 1000
"""Maximum number of positions that are kept for a later comparison; a larger account is compared when it is read."""
PLACES = Decimal("0.00000001")
NEVER_COMPARED = {
    "reason_code": "never_compared",
    "reason": "The account has not been compared with its targets yet.",
}


def store_value(lease: Lease, account_pk: int, snapshot: AccountSnapshot) -> None:
    """Add an entry to the account's value history; fenced."""
    with fenced_transaction(lease):
        AccountValue.objects.create(
            account_id=account_pk,
            at=snapshot.as_of,
            total_value_usd=snapshot.total_value_usd,
            cash_usd=snapshot.cash_usd,
            shares=_quantities(snapshot.positions),
        )


def _quantities(positions: Sequence[AccountPosition]) -> dict[str, str] | None:
    """Return the quantities by symbol, or by contract for what no order trades.

    None with a future: its profit and loss is part of cash each day, so that no change of cash can be explained.
    """
    if any(position.kind is SecurityKind.FUTURE for position in positions):
        return None
    found: dict[str, Decimal] = {}
    for position in positions:
        key = position.symbol if position.is_us_stock else f"{position.symbol} {position.contract_id}"
        found[key] = found.get(key, Decimal(0)) + position.quantity
    return {key: f"{quantity:f}" for key, quantity in found.items() if quantity}


def look_fields(state: AccountState, as_of: datetime) -> dict[str, Any]:
    """Return the fields of a standing that an account's snapshot gives: value, cash, positions and their one age."""
    fields = {"as_of": as_of, "total_value_usd": state.total_value_usd, "cash_usd": state.cash_usd}
    if len(state.positions) > MAX_POSITIONS:
        return fields | {"snapshot": {"positions_count": len(state.positions)}}
    return fields | {"snapshot": {"positions": [_stored(one, state.total_value_usd) for one in state.positions]}}


def _stored(position: Position, total_value_usd: Decimal) -> dict[str, Any]:
    mark = position.market_price
    fields: dict[str, Any] = {
        "symbol": position.symbol,
        "quantity": f"{position.quantity:f}",
        "mark": None if mark is None else f"{mark:f}",
        "weight": f"{_weight(position.quantity * (mark or 0), total_value_usd):f}",
    }
    if not position.tradable:
        fields |= {"contract": position.contract, "tradable": False, "is_cash": position.is_cash}
    return fields


def _weight(value: Decimal, total: Decimal) -> Decimal:
    return (value / total).quantize(PLACES) if total > 0 else Decimal(0)


def stored_state(standing: AccountStanding) -> AccountState:
    """Return the account whose positions are stored with the standing."""
    positions = (standing.snapshot or {})["positions"]
    return AccountState(
        total_value_usd=standing.total_value_usd,
        cash_usd=standing.cash_usd,
        positions=tuple(
            Position(
                symbol=one["symbol"],
                quantity=Decimal(one["quantity"]),
                market_price=None if one["mark"] is None else Decimal(one["mark"]),
                contract=one.get("contract", ""),
                tradable=one.get("tradable", True),
                is_cash=one.get("is_cash", False),
            )
            for one in positions
        ),
    )


def standing_fields(
    state: StandingState,
    reason: tuple[str, str],
    comparison: BandComparison | None,
    weights: Mapping[str, Decimal],
    digests: Mapping[str, str],
) -> dict[str, Any]:
    """Return the fields of a standing that a comparison gives.

    Args:
        state: its result.
        reason: code and sentence of the reason.
        comparison: None if there is none, so that no drift is stored.
        weights: weights by symbol as fractions, cash under `CASH`.
        digests: digests of the settings that the account was compared under.
    """
    return {
        "state": state,
        "reason_code": reason[0],
        "reason": reason[1],
        "changed_at": None,
        "largest_drift_percent": comparison and comparison.largest_drift_pp,
        "band_percent": comparison and comparison.band_percent,
        "weights": [
            [symbol, f"{weight.quantize(PLACES):f}"]
            for symbol, weight in sorted(weights.items(), key=_largest_first)
            if weight or symbol == CASH
        ],
        "target_weights": comparison and {name: f"{weight:f}" for name, weight in comparison.target_weights.items()},
        "basis": dict(digests),
    }


def write_look(account_pk: int, fields: Mapping[str, Any]) -> None:
    """Store a snapshot of an account with its standing, all fields of both."""
    AccountStanding.objects.bulk_create(
        [AccountStanding(account_id=account_pk, **fields)],
        update_conflicts=True,
        unique_fields=("account",),
        update_fields=tuple(fields),
    )


def write_standing(account_pk: int, fields: Mapping[str, Any]) -> None:
    """Store another comparison of the stored snapshot."""
    AccountStanding.objects.filter(account_id=account_pk).update(**fields)


def void_standings(account_pks: Collection[int], code: str, reason: str) -> None:
    """Store that the comparison of accounts is no longer valid. Value, cash and weights stay as they were read."""
    AccountStanding.objects.filter(account_id__in=account_pks).update(
        state=StandingState.VOID,
        reason_code=code,
        reason=reason,
        changed_at=timezone.now(),
        largest_drift_percent=None,
        band_percent=None,
        target_weights=None,
    )


def store_planned_run(account_pk: int, run_pk: int) -> None:
    """Store the newest run of the account that has made a plan, for its page."""
    AccountStanding.objects.filter(account_id=account_pk).update(planned_run=run_pk)


def start_refresh(account_pk: int, user_pk: int) -> AccountRefresh:
    """Store that a user has requested to read the account now; it replaces the request before."""
    fields = {
        "requested_at": timezone.now(),
        "requested_by_id": user_pk,
        "finished_at": None,
        "error_code": "",
        "error_message": "",
    }
    return AccountRefresh.objects.update_or_create(account_id=account_pk, defaults=fields)[0]


def finish_refresh(request: AccountRefresh, code: str, message: str) -> None:
    """Store the outcome of a refresh; without a code, the account was read."""
    AccountRefresh.objects.filter(pk=request.pk).update(
        finished_at=timezone.now(), error_code=code, error_message=message
    )


def _largest_first(item: tuple[str, Decimal]) -> tuple[bool, Decimal, str]:
    symbol, weight = item
    return symbol == CASH, -weight, symbol


def store_total(day: date, values: Mapping[str, tuple[Decimal, Decimal]], flow_usd: Decimal | None) -> None:
    """Store the total value of all enabled accounts on a day.

    Args:
        day: the day.
        values: value and cash of each account in US dollars, by its primary key.
        flow_usd: the money that came in since the day before, or out if negative; None if that is not known.
    """
    TotalValue.objects.update_or_create(
        day=day,
        defaults={
            "total_value_usd": sum((value for value, _ in values.values()), Decimal(0)),
            "cash_usd": sum((cash for _, cash in values.values()), Decimal(0)),
            "accounts": len(values),
            "account_values": {key: f"{value:f}" for key, (value, _) in values.items()},
            "flow_usd": flow_usd,
        },
    )


def store_history(values: Sequence[AccountValue]) -> None:
    """Add past values of an account, one per day, oldest first, to its history and to that of all accounts."""
    with transaction.atomic():
        AccountValue.objects.bulk_create(values)
        latest = values[-1]
        AccountStanding.objects.get_or_create(
            account=latest.account,
            defaults={
                "as_of": latest.at,
                "total_value_usd": latest.total_value_usd,
                "cash_usd": latest.cash_usd,
                **NEVER_COMPARED,
            },
        )
        for value in values:
            total, _ = TotalValue.objects.get_or_create(
                day=timezone.localdate(value.at), defaults={"total_value_usd": 0, "cash_usd": 0, "accounts": 0}
            )
            total.total_value_usd += value.total_value_usd
            total.cash_usd += value.cash_usd
            total.accounts += 1
            if value is latest:  # what the next total is compared with; the flows of the past are not known
                total.account_values[str(value.account_id)] = f"{value.total_value_usd:f}"
            total.save()
