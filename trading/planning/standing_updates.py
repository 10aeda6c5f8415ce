"""Keep the standings true: compare after each look at an account, and void a comparison whose settings have changed.

Every change of targets, strategies, policies, replacement sets, rules and accounts is announced in its own transaction
(`accounts/models/plan_input.py`). That transaction locks the standings concerned, and voids those whose digests differ.
A comparison locks the standing before it reads the settings, so that it cannot use settings that are being replaced. A
change behind Django's back is found by the sweeper, with the same digests.
"""

import logging
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.db import DatabaseError, connection, transaction
from django.db.models import Model, Q
from django.db.models.signals import post_delete, post_save
from django.utils import timezone

from accounts.models import Account, RebalancePolicy, ReplacementRule, ReplacementSet, Strategy, TargetAllocation
from accounts.models.plan_input import rows_changed
from brokers.broker_types import AccountSnapshot, ContractPrice
from calculator import AccountState, Quote
from trading.journal import account_status
from trading.models import AccountStanding, CachedPrice, PublishedTargets, StandingState
from trading.planning.account_state import account_state
from trading.planning.standing import actual_weights, judge, unpriced_targets
from trading.planning.standing_basis import PARTS, StandingBasis, changed_parts, read_bases, with_settings
from trading.queue.wake import wake_standings

logger = logging.getLogger("rebalancer.trading")

LOCK_WAIT = "1s"
"""Maximum time that a comparison waits for a change of settings; the engine's other writes wait behind it."""
OTHER_ACCOUNT = PARTS["environment"][0]
"""Reason of a standing whose snapshot is of what is another account today."""
QUOTES_MAX_AGE = timedelta(days=7)
"""Maximum age of a quote that decides whether a whole share is too expensive."""

AFFECTED: Mapping[type[Model], str] = {
    Account: "account",
    Strategy: "account__strategy",
    TargetAllocation: "account__strategy__targets",
    PublishedTargets: "account__strategy__published",
    ReplacementSet: "account__replacement_set",
    ReplacementRule: "account__replacement_set__rules",
    RebalancePolicy: "account__policy",
}
"""Models that comparisons read, each with the lookup from a standing to its rows."""
NO_PLAN_INPUTS: Mapping[type[Model], frozenset[str]] = {
    Account: frozenset({"trading_paused", "live_armed", "enabled", "name", "connection", "updated_at"}),
    PublishedTargets: frozenset({"fetched_at", "failed_at", "error_code", "error_message"}),
}
"""Fields whose change concerns no comparison, so that neither a pause nor a fetch of the same targets waits for one."""
OWNERS: Mapping[type[Model], str] = {
    TargetAllocation: "strategy_id",
    PublishedTargets: "strategy_id",
    ReplacementRule: "replacement_set_id",
}
"""Parts of a strategy or a set, each with the field of its owner: a deleted row is not found through the lookup."""


def store_look(account_pk: int, snapshot: AccountSnapshot) -> bool:
    """Store an account as it was read, with its standing today.

    Returns:
        False if a newer look is stored, or if it was not possible; the log has the reason.
    """
    with _apart_from_runs(account_pk):
        state = account_state(snapshot, {})
        known = AccountStanding.objects.select_for_update(of=("self",)).filter(account_id=account_pk)
        if any(as_of >= snapshot.as_of for as_of in known.values_list("as_of", flat=True)):
            return False
        fields = account_status.look_fields(state, snapshot.as_of) | _standing_fields(state, _basis_of(account_pk))
        account_status.write_look(account_pk, fields)
        return True
    return False


def store_planned_run(account_pk: int, run_pk: int) -> None:
    """Store the run as the newest that has made a plan. Called after the end of the run is committed."""
    with _apart_from_runs(account_pk):
        account_status.store_planned_run(account_pk, run_pk)


def compare_again() -> int:
    """Compare the accounts whose comparison is void with today's settings, from their stored snapshots.

    A snapshot of another broker, environment or account number is not compared: the account is void until it is read.

    Returns:
        The number of standings that were compared.
    """
    void = AccountStanding.objects.filter(state=StandingState.VOID, snapshot__has_key="positions")
    rows = list(void.only("account_id", "basis", "reason_code"))
    bases = read_bases(list(with_settings(Account.objects.filter(standing__in=void))))
    compared = 0
    for account_pk in [
        row.account_id for row in rows if not (row.reason_code == OTHER_ACCOUNT and _is_other(row, bases))
    ]:
        with _apart_from_runs(account_pk):
            compared += _compare_one(account_pk)
    return compared


def void_all_changed() -> int:
    """Void the comparisons whose settings were changed behind Django's back; return their number.

    The rows are locked only if one differs: this is called every minute.
    """
    rows = AccountStanding.objects.filter(basis__isnull=False).exclude(state=StandingState.VOID)
    known = dict(rows.values_list("account_id", "basis"))
    bases = read_bases(list(with_settings(Account.objects.filter(standing__in=rows))))
    changed = [pk for pk, basis in bases.items() if pk in known and changed_parts(known[pk] or {}, basis.digests)]
    return void_changed(Q(account__in=changed)) if changed else 0


def void_changed(affected: Q, *, skip_locked: bool = False) -> int:
    """Void the comparisons whose settings differ from today's, and queue that they are made again.

    Args:
        affected: the standings to look at.
        skip_locked: leave standings out that another transaction is writing.

    Returns:
        The number of comparisons that became void.
    """
    with transaction.atomic():
        # Void ones are locked, too: a comparison that is being made waits for the settings of this transaction.
        rows = AccountStanding.objects.select_for_update(of=("self",), skip_locked=skip_locked)
        rows = rows.filter(affected, basis__isnull=False).only("account_id", "state", "basis").order_by("pk")
        compared = {row.account_id: row.basis or {} for row in rows if row.state != StandingState.VOID}
        if not compared:
            return 0
        changed: dict[str, list[int]] = defaultdict(list)
        for pk, basis in read_bases(list(with_settings(Account.objects.filter(pk__in=compared)))).items():
            if parts := changed_parts(compared[pk], basis.digests):
                changed[parts[0]].append(pk)
        for part, pks in changed.items():
            account_status.void_standings(pks, *PARTS[part])
        if changed:
            wake_standings()
        return sum(map(len, changed.values()))


def connect() -> None:
    """Void comparisons with every change of what they were made from."""
    for model in AFFECTED:
        name = model.__name__
        post_save.connect(_on_saved, sender=model, dispatch_uid=f"standing.saved.{name}")
        post_delete.connect(_on_saved, sender=model, dispatch_uid=f"standing.deleted.{name}")
        rows_changed.connect(_on_rows_changed, sender=model, dispatch_uid=f"standing.rows.{name}")


def _on_saved(sender: type[Model], instance: Model, update_fields: Collection[str] | None = None, **_: Any) -> None:
    if not _concerns_plans(sender, update_fields):
        return
    if owner := OWNERS.get(sender):
        affected = Q(**{AFFECTED[sender].rpartition("__")[0]: getattr(instance, owner)})
    else:
        affected = _affected_by(sender, [instance.pk])
    # The engine stores fetched targets, and must not wait for a transaction of a user.
    _void_safely(affected, skip_locked=sender is PublishedTargets)


def _on_rows_changed(sender: type[Model], pks: Sequence[int], fields: Collection[str] | None, **_: Any) -> None:
    if pks and _concerns_plans(sender, fields):
        _void_safely(_affected_by(sender, pks))


def _concerns_plans(model: type[Model], fields: Collection[str] | None) -> bool:
    """Return whether a change of these fields, or of all, can change what accounts are compared with."""
    return fields is None or not NO_PLAN_INPUTS.get(model, frozenset()).issuperset(fields)


def _void_safely(affected: Q, *, skip_locked: bool = False) -> None:
    """Void the comparisons whose settings have changed. An error here must fail neither a run nor a kill switch."""
    try:
        with transaction.atomic():
            void_changed(affected, skip_locked=skip_locked)
    except Exception:
        logger.exception("The standings that a change concerns could not be compared; all of them become void")
        _void_all(affected)


def _void_all(affected: Q) -> None:
    try:
        with transaction.atomic():
            pks = AccountStanding.objects.filter(affected).values_list("account_id", flat=True)
            account_status.void_standings(list(pks), "settings_changed", PARTS["policy"][1])
    except DatabaseError:  # such as a deadlock with another change; the task that compares all digests finds them
        logger.exception("The standings that a change concerns could not be voided")


def _affected_by(model: type[Model], pks: Sequence[int]) -> Q:
    affected = Q(**{f"{AFFECTED[model]}__in": pks})
    return affected | Q(account__policy__isnull=True) if model is RebalancePolicy else affected


def _compare_one(account_pk: int) -> bool:
    void = AccountStanding.objects.filter(state=StandingState.VOID, snapshot__has_key="positions")
    row = void.select_for_update(of=("self",)).filter(account_id=account_pk).first()
    if row is None:
        return False
    basis = _basis_of(account_pk)
    if _is_other(row, {account_pk: basis}):
        account_status.void_standings([account_pk], *PARTS["environment"])
        return False
    account_status.write_standing(account_pk, _standing_fields(account_status.stored_state(row), basis))
    return True


def _is_other(row: AccountStanding, bases: Mapping[int, StandingBasis]) -> bool:
    """Return whether the stored snapshot was read under another broker, environment or account number than today's."""
    basis = bases.get(row.account_id)
    return basis is not None and (row.basis or {}).get("environment") != basis.digests["environment"]


def _basis_of(account_pk: int) -> StandingBasis:
    return read_bases(list(with_settings(Account.objects.filter(pk=account_pk))))[account_pk]


def _standing_fields(state: AccountState, basis: StandingBasis) -> dict[str, Any]:
    standing = judge(state, basis, _latest_quotes(basis.market, unpriced_targets(state, basis)))
    comparison = standing.comparison
    weights = comparison.weights if comparison else actual_weights(state)
    reason = standing.code, standing.reason
    return account_status.standing_fields(standing.state, reason, comparison, weights, basis.digests)


def _latest_quotes(market: tuple[str, str], symbols: Sequence[str]) -> list[Quote]:
    """Return the quotes that any run has stored of the symbols in the last days."""
    broker, environment = market
    rows = CachedPrice.objects.filter(broker=broker, environment=environment, symbol__in=symbols)
    recent = rows.filter(as_of__gt=timezone.now() - QUOTES_MAX_AGE) if symbols else rows.none()
    prices = (ContractPrice.model_validate(price) for price in recent.values_list("price", flat=True))
    return [Quote(symbol=price.symbol, bid=price.bid, ask=price.ask, tick_usd=price.tick_usd) for price in prices]


@contextmanager
def _apart_from_runs(account_pk: int) -> Iterator[None]:
    """Open a transaction for one standing, which harms no run: its wait for a lock is limited, its errors are logged.

    SQLite has one writer, and a limit of its own.
    """
    try:
        with transaction.atomic():
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_WAIT}'")
            yield
    except Exception:  # orders may have been filled: a figure for pages must not fail their run
        logger.exception("The standing of account %s was not stored", account_pk)
