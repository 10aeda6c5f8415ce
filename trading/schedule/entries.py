"""What doors ask of the schedule: to add an account, to take it off, to see what is there."""

from datetime import datetime

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from accounts.models import Account
from brokers.exchange_calendar import NEW_YORK
from trading.actions.previews import may_execute
from trading.errors import Refused
from trading.guards.account import check_enabled, check_environment, enforce
from trading.journal import schedule
from trading.journal.runs import supersede
from trading.market_calendar import market_calendar
from trading.models import EventSource, RunState, ScheduleEntry, ScheduleOrigin, ScheduleState
from trading.schedule.next_open import next_open, open_after


def schedule_account(account: Account, person: User | None = None) -> ScheduleEntry:
    """Schedules the account for the next market open; one that waits already stays as it is.

    Args:
        account: the account.
        person: who asks; None when it is the operator, by command.

    Returns:
        The entry that waits.

    Raises:
        Refused: the account could not be executed at any open, or the person may not trade it.
    """
    if person is not None and not may_execute(person, account):
        raise Refused("not_permitted", "You may not schedule this account. Ask someone with the right to execute.")
    enforce([check_enabled(account), check_environment(account)], EventSource.ADMIN)
    if account.strategy is None:
        raise Refused("no_strategy", f"Account {account.account_id} follows no strategy. Assign one in the admin.")
    origin = ScheduleOrigin.PERSON if person is not None else ScheduleOrigin.COMMAND
    message = f"Scheduled by {person}." if person is not None else "Scheduled by command."
    return place_at_next_open(account, timezone.now(), origin, requested_by=person, message=message)


def place_at_next_open(
    account: Account,
    now: datetime,
    origin: ScheduleOrigin,
    *,
    requested_by: User | None = None,
    attempt: int = 1,
    message: str = "",
) -> ScheduleEntry:
    """Puts the account at the first open that is still to come and that has not been used for it."""
    calendar = market_calendar()
    opening = next_open(now, calendar)
    while True:
        entry = schedule.add_entry(
            account,
            opening.session_date,
            opening.due_at,
            origin,
            requested_by=requested_by,
            attempt=attempt,
            message=message,
        )
        if entry is not None:
            return entry
        opening = open_after(opening.session_date, calendar)


def unschedule_account(account: Account, person: User | None = None) -> int:
    """Takes the account off the schedule: what waits, and what went wrong and is now seen.

    Returns:
        How many entries were taken off.

    Raises:
        Refused: the person may not trade the account.
    """
    if person is not None and not may_execute(person, account):
        raise Refused("not_permitted", "You may not change this schedule. Ask someone with the right to execute.")
    who = str(person) if person is not None else "the operator, by command"
    return sum(remove(entry, f"Taken off the schedule by {who}.") for entry in open_entries().filter(account=account))


def clear_schedule() -> int:
    """Takes every account off the schedule.

    Returns:
        How many entries were taken off.
    """
    return sum(remove(entry, "The schedule was cleared by command.") for entry in open_entries())


def remove(entry: ScheduleEntry, message: str) -> bool:
    """Takes one entry off; a run that was put aside until then does not come back."""
    with transaction.atomic():
        if not schedule.remove_entry(entry, message):
            return False  # it has just started
        if entry.run is not None and entry.run.state == RunState.DEFERRED:
            supersede(entry.run.pk, message)
    return True


open_entries = ScheduleEntry.open_entries


def line(entry: ScheduleEntry) -> str:
    """An entry in a sentence for people."""
    at = f"{entry.due_at.astimezone(NEW_YORK):%a %Y-%m-%d %H:%M} New York time"
    run = f", run {entry.run.run_id}" if entry.run is not None and entry.state != ScheduleState.WAITING else ""
    words = f": {entry.message}" if entry.message else ""
    return f"{entry.account.account_id}  {at}  {entry.get_state_display().lower()}{run}{words}"
