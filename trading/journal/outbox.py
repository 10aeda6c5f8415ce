"""Notifications: each is written in the transaction of the change that it reports, with a delivery for each channel."""

import json
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from calculator.formats import money
from calculator.reason_codes import WARNINGS as CALCULATOR_WARNINGS
from trading.common.formats import counted, new_york_clock, new_york_time
from trading.error_codes import GUARDS, needs_approval
from trading.journal.outcomes import orders_text, stopped_by
from trading.models import (
    Delivery,
    EventSource,
    EventState,
    Notification,
    NotificationKind,
    RebalanceRun,
    RunMode,
    RunOutcome,
    RunState,
    StrategyEvent,
    Webhook,
)
from trading.notify.channels import channels

INTERACTIVE_SOURCES = {EventSource.ADMIN, EventSource.COMMAND, EventSource.API}
"""Sources whose users see the outcome themselves."""
EVENT_INTERVAL = timedelta(minutes=10)
"""Minimum time between two notifications about similar events."""

NOTES = frozenset(CALCULATOR_WARNINGS) - {"symbol_frozen"}
"""Codes of warnings that explain a plan. They alone make no notification a warning."""
APPROVED_BY_RULE = "approved_by_rule"
"""Code of the timeline entry of a plan that was approved automatically."""


def notify_run_ended(run: RebalanceRun) -> None:
    """Write the notification about a run that ended or was deferred, unless nobody needs it."""
    if run.state == RunState.SUPERSEDED or (run.mode == RunMode.PREVIEW and _is_unremarkable_preview(run)):
        return
    kind, title = _kind_and_title(run)
    _write(kind, f"{title}: {_account(run)}", _body(run), run)


def _account(run: RebalanceRun) -> str:
    return f"{run.account.account_id}" + (f" ({run.account.name})" if run.account.name else "")


def notify_approval_expired(run: RebalanceRun) -> None:
    """Write the notification about a plan that nobody approved or declined in time.

    A preview that a user requested causes none: that user saw it.
    """
    if run.mode == RunMode.PREVIEW and run.event.source in INTERACTIVE_SOURCES:
        return
    body = (
        f"Nobody approved or declined the plan of run {run.run_id} ({run.strategy_name}) before the session's close. "
        "It can no longer be approved, and no orders were sent. Preview the account to make a new plan."
    )
    if settings.SITE_URL:
        body += f"\nView the plan: {settings.SITE_URL}/runs/{run.run_id}/"
    _write(NotificationKind.WARNING, f"Approval expired: {_account(run)}", body, run)


def notify_event_not_accepted(event: StrategyEvent) -> None:
    """Write a notification about an event that was not accepted as published, unless its sender sees the response."""
    accepted_as_published = event.state == EventState.ACCEPTED and not event.reason_code
    if accepted_as_published or event.source in INTERACTIVE_SOURCES:
        return
    origin = event.channel or event.account_id or "no strategy"
    notify_operators(
        NotificationKind.WARNING,
        f"Event {event.state}: {origin} ({event.reason_code})",
        f"{event.reason}\nEvent {event.pk}, message {event.message_id}. Similar events in the next "
        f"{EVENT_INTERVAL // timedelta(minutes=1)} minutes cause no notification. The events page lists them all.",
        min_interval=EVENT_INTERVAL,
    )


def notify_operators(kind: NotificationKind, title: str, body: str, *, min_interval: timedelta = timedelta(0)) -> bool:
    """Write a notification that concerns no run; return False if the interval has one with the same title."""
    recent = Notification.objects.filter(title=title[:200], created_at__gt=timezone.now() - min_interval)
    if min_interval and recent.exists():
        return False
    _write(kind, title, body)
    return True


def _is_unremarkable_preview(run: RebalanceRun) -> bool:
    """Whether a user watches the preview, or a drift check found nothing to trade."""
    if run.event.source in INTERACTIVE_SOURCES:
        return True
    nothing_to_trade = run.state == RunState.COMPLETED and not (run.result or {}).get("trades")
    return run.event.source == EventSource.SCHEDULE and nothing_to_trade


def _write(kind: NotificationKind, title: str, body: str, run: RebalanceRun | None = None) -> None:
    message = Notification.objects.create(kind=kind, title=title[:200], body=body, run=run)
    deliveries = [Delivery(notification=message, channel=channel.name) for channel in channels()]
    payload = json.dumps(_webhook_payload(message))
    deliveries += [
        Delivery(notification=message, channel=f"webhook {webhook.name}", webhook=webhook, body=payload)
        for webhook in Webhook.objects.filter(enabled=True)
    ]
    Delivery.objects.bulk_create(deliveries)


def _webhook_payload(message: Notification) -> dict[str, object]:
    run = message.run
    return {
        "created_at": message.created_at.isoformat(),
        "kind": str(message.kind),
        "title": message.title,
        "body": message.body,
        "run": run
        and {
            "run_id": run.run_id,
            "account_id": run.account.account_id,
            "strategy": run.strategy_name,
            "mode": str(run.mode),
            "state": str(run.state),
            "outcome": str(run.outcome),
            "error": run.error_code or None,
        },
    }


def _kind_and_title(run: RebalanceRun) -> tuple[NotificationKind, str]:
    subject = "Preview" if run.mode == RunMode.PREVIEW else "Rebalance"
    has_warnings = any(warning["code"] not in NOTES for warning in run.warnings)
    outcomes: dict[str, tuple[NotificationKind, str]] = {
        RunOutcome.NOTHING_TO_DO: (NotificationKind.SUCCESS, f"{subject} found nothing to trade"),
        RunOutcome.DONE: (NotificationKind.SUCCESS, f"{subject} completed"),
        RunOutcome.PARTLY_DONE: (NotificationKind.WARNING, "Rebalance partly done"),
        RunOutcome.STOPPED: (NotificationKind.WARNING, "Rebalance stopped"),
        RunOutcome.REFUSED: (NotificationKind.FAILURE, "Rebalance refused"),
        RunOutcome.NEEDS_ATTENTION: (NotificationKind.FAILURE, "Rebalance needs attention"),
        RunOutcome.DEFERRED: (NotificationKind.BLOCKED, f"{subject} deferred"),
    }
    kind, title = outcomes.get(run.outcome, (NotificationKind.FAILURE, f"{subject} failed"))
    if _waits(run):
        return NotificationKind.WARNING, "Rebalance waits for approval"
    if run.error_code == "resolved_manually":
        return kind, "Rebalance resolved manually"
    if run.state == RunState.DEFERRED and run.error_code in GUARDS:
        return kind, f"Rebalance deferred ({GUARDS[run.error_code].title})"
    if kind == NotificationKind.SUCCESS and has_warnings:
        return NotificationKind.WARNING, f"{title} with warnings" if run.outcome == RunOutcome.DONE else title
    return kind, title


def _body(run: RebalanceRun) -> str:
    lines = [f"Strategy {run.strategy_name}, run {run.run_id}." if run.strategy_name else f"Run {run.run_id}."]
    if run.error_message:
        lines.append(run.error_message)
    lines += run.timeline.filter(code=APPROVED_BY_RULE).order_by("-id").values_list("message", flat=True)[:1]
    trades = run.result.get("trades", []) if run.result else []
    if run.mode == RunMode.PREVIEW and run.state == RunState.COMPLETED:
        lines.append(f"The plan has {counted(len(trades), 'order')}.")
    if person := stopped_by(run):
        lines.append(f"Stopped by {person}.")
    if progress := orders_text(run):
        lines.append(f"{progress}.")
    lines += [f"Warning: {warning['message']}" for warning in run.warnings]
    if settings.SITE_URL:
        lines.append(f"{_link_label(run)}: {settings.SITE_URL}/runs/{run.run_id}/")
        if _waits(run):
            lines.append(f"All plans that wait for approval: {settings.SITE_URL}/approvals/")
    # Anyone who guesses the name of a topic can read it on a public notification server.
    value, cash = run.total_value_usd, run.cash_usd
    if settings.USER_NOTIFICATIONS_INCLUDE_VALUES and value is not None and cash is not None:
        lines.append(f"Account value {money(value)}, cash {money(cash)}.")
    return "\n".join(lines)


def _waits(run: RebalanceRun) -> bool:
    """Whether a user must approve the plan. Runs of an earlier version have no time until which they wait.

    A rebalance that was interrupted while its plan was held keeps that time, and can have sent its orders since.
    """
    held = run.state == RunState.REFUSED and needs_approval(run.error_code)
    previewed = run.state == RunState.COMPLETED and run.mode == RunMode.PREVIEW
    return held or (previewed and run.approval_until is not None)


def _link_label(run: RebalanceRun) -> str:
    if _waits(run) and run.approval_until:
        return f"Review the plan, and approve or decline it until {new_york_time(run.approval_until)}"
    previewed = run.state == RunState.COMPLETED and run.mode == RunMode.PREVIEW and run.result.get("trades")
    if previewed and run.plan_expires_at:
        return f"Review and submit the plan until {new_york_clock(run.plan_expires_at, seconds=True)}"
    return "View the run"
