"""Add accounts to the schedule and remove them from it."""

from datetime import datetime

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from accounts.models import Account
from trading.access.permissions import check_permissions
from trading.actions.previews import execute_permissions
from trading.errors import Refused
from trading.guards.account import check_enabled, check_environment, enforce
from trading.journal import schedule
from trading.journal.runs import supersede
from trading.market_calendar import market_calendar
from trading.models import EventSource, RunState, ScheduleEntry, ScheduleOrigin, ScheduleState
from trading.schedule.next_open import format_start, next_open, open_after


def schedule_account(account: Account, user: User | None = None) -> ScheduleEntry:
    """Schedule the account for the next market open, by a user or by command. An entry that waits for it is unchanged.

    Raises:
        Refused: the account cannot be executed at any open, or the user lacks the permission.
    """
    if user is not None:
        check_permissions(user, *execute_permissions(account), action="schedule this account")
    enforce([check_enabled(account), check_environment(account)], EventSource.ADMIN)
    if account.followed_strategy is None:
        raise Refused("no_strategy", f"Account {account.account_id} has no strategy. Assign one in the admin.")
    origin = ScheduleOrigin.PERSON if user is not None else ScheduleOrigin.COMMAND
    message = f"Scheduled by {user or 'command'}."
    return add_at_next_open(account, timezone.now(), origin, requested_by=user, message=message)


def add_at_next_open(
    account: Account,
    now: datetime,
    origin: ScheduleOrigin,
    *,
    requested_by: User | None = None,
    attempt: int = 1,
    message: str = "",
) -> ScheduleEntry:
    """Add the account at the first future open at which it has not been started yet."""
    calendar = market_calendar()
    opening = next_open(now, calendar)
    while True:
        where = account, opening.session_date, opening.due_at, origin
        entry = schedule.add_entry(*where, requested_by=requested_by, attempt=attempt, message=message)
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
    return f"{entry.account.account_id}  {format_start(entry.due_at)}  {state}{run}{message}"
