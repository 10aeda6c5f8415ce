"""Add accounts to the schedule and remove them from it."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from accounts.models import Account
from trading.access.permissions import check_permissions
from trading.access.two_factor import code_missing, confirm_live, is_verified
from trading.common.formats import new_york_time
from trading.errors import Refused
from trading.guards.may_trade import execute_permissions, refusals_to_queue
from trading.journal import schedule
from trading.journal.runs import supersede
from trading.market_calendar import market_calendar
from trading.models import RunState, ScheduleEntry, ScheduleOrigin, ScheduleState
from trading.schedule.next_open import next_open, open_after


def schedule_account(
    account: Account, user: User | None = None, *, typed_account_id: str = "", code: str = ""
) -> ScheduleEntry:
    """Schedule the account for the next market open, by a user or by command. An entry that waits for it is unchanged.

    It asks for what submitting the orders now asks for: they leave without another question. The run is judged again
    when it starts.

    Args:
        account: the account, with the strategy that it follows.
        user: the user on a page; None for a command.
        typed_account_id: what the user typed to confirm a live account.
        code: the user's current two-factor code, for a live account.

    Raises:
        Refused: the account may not be executed now, or the user lacks the permission or a confirmation.
    """
    if refusal := scheduling_refusal(account, user):
        raise refusal
    if user is not None:
        confirm_live(account, user, typed_account_id, code)
    origin = ScheduleOrigin.PERSON if user is not None else ScheduleOrigin.COMMAND
    message = f"Scheduled by {user or 'command'}."
    return add_at_next_open(account, timezone.now(), origin, requester=requester_fields(user), message=message)


def scheduling_refusal(account: Account, user: User | None) -> Refused | None:
    """Return why the account cannot be scheduled now, or not by this user; None if it can."""
    if user is not None:
        try:
            check_permissions(user, *execute_permissions(account), action="schedule this account")
        except Refused as refusal:
            return refusal
        if missing := code_missing(user, account):
            return missing
    failed = refusals_to_queue([account], user).get(account.pk)
    return Refused(failed.code, failed.message) if failed else None


def requester_fields(user: User | None) -> dict[str, Any]:
    """Return the fields of an entry that keep who requested it, and whether that user was verified."""
    if user is None:
        return {}
    return {"requested_by": user, "requester_name": str(user), "requester_verified": is_verified(user)}


def add_at_next_open(
    account: Account,
    now: datetime,
    origin: ScheduleOrigin,
    *,
    requester: Mapping[str, Any] = MappingProxyType({}),
    attempt: int = 1,
    message: str = "",
) -> ScheduleEntry:
    """Add the account at the first future open at which it has not been started yet."""
    calendar = market_calendar()
    opening = next_open(now, calendar)
    while True:
        where = account, opening.session_date, opening.due_at, origin
        entry = schedule.add_entry(*where, requester=requester, attempt=attempt, message=message)
        if entry is not None:
            return entry
        opening = open_after(opening.session_date, calendar)


def unschedule_account(account: Account, user: User | None = None) -> int:
    """Remove the account's waiting, failed and missed entries. Return their number.

    Raises:
        Refused: the user lacks the permission.
    """
    if user is not None:
        check_permissions(user, *execute_permissions(account), action="change the schedule of this account")
    message = f"Removed from the schedule by {user or 'command'}."
    return sum(_remove(entry, message) for entry in ScheduleEntry.open_entries().filter(account=account))


def clear_schedule() -> int:
    """Remove the waiting, failed and missed entries of all accounts. Return their number."""
    return sum(_remove(entry, "The schedule was cleared by command.") for entry in ScheduleEntry.open_entries())


def _remove(entry: ScheduleEntry, message: str) -> bool:
    """Remove one entry. A run that was deferred to it is superseded."""
    with transaction.atomic():
        if not schedule.remove_entry(entry, message):
            return False  # it has just started
        if entry.run is not None and entry.run.state == RunState.DEFERRED:
            supersede(entry.run.pk, message)
    return True


def entry_text(entry: ScheduleEntry) -> str:
    """Return an entry as one line of text."""
    run = f", run {entry.run.run_id}" if entry.run is not None and entry.state != ScheduleState.WAITING else ""
    message = f": {entry.message}" if entry.message else ""
    state = entry.get_state_display().lower()
    return f"{entry.account.account_id}  {new_york_time(entry.due_at)}  {state}{run}{message}"
