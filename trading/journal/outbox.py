"""What people are told: a row in the outbox, written in the transaction of what it tells of."""

import json
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from brokers.exchange_calendar import NEW_YORK
from trading.error_codes import GUARDS, needs_approval
from trading.models import (
    EventSource,
    EventState,
    Notification,
    NotificationKind,
    RebalanceRun,
    RunMode,
    RunState,
    StrategyEvent,
    Webhook,
    WebhookDelivery,
)

SENDERS_WHO_SEE = {EventSource.ADMIN, EventSource.COMMAND, EventSource.API}
"""They get an answer, and look for themselves what becomes of it."""
EVENTS_QUIET = timedelta(minutes=10)

TITLES = {
    NotificationKind.SUCCESS: "Rebalance completed",
    NotificationKind.WARNING: "Rebalance completed with warnings",
    NotificationKind.FAILURE: "Rebalance failed",
    NotificationKind.BLOCKED: "Rebalance deferred",
}
REFUSED_TITLE = "Rebalance refused"
HELD_TITLE = "Rebalance waits for approval"
ATTENTION_TITLE = "Rebalance needs attention"
CLOSED_TITLE = "Rebalance closed by a person"
APPROVED_BY_RULE = "approved_by_rule"
"""In the story of a run whose held plan nobody had to approve."""


def announce(run: RebalanceRun) -> None:
    """Writes the message about a run that has ended or was put aside; previews that people watch make none."""
    if run.state == RunState.SUPERSEDED or (run.mode == RunMode.PREVIEW and _is_no_news(run)):
        return
    kind = _kind(run)
    account = f"{run.account.account_id}" + (f" ({run.account.name})" if run.account.name else "")
    _write(kind, f"{_title(run, kind)}: {account}"[:200], _body(run), run)


def announce_event(event: StrategyEvent) -> None:
    """Writes the message about an event that is not simply carried out, unless its sender sees that at once."""
    if event.state == EventState.ACCEPTED or event.source in SENDERS_WHO_SEE:
        return
    where = event.channel or event.account_id or "no strategy"
    notify_operators(
        NotificationKind.WARNING,
        f"Event {event.state}: {where} ({event.reason_code})",
        f"{event.reason}\nEvent {event.pk}, message {event.message_id}. Further ones like it within "
        f"{EVENTS_QUIET // timedelta(minutes=1)} minutes are not told of one by one; the events page shows all.",
        quiet=EVENTS_QUIET,
    )


def notify_operators_now(kind: NotificationKind, title: str, body: str) -> None:
    """Writes a message that is about no run, however often."""
    _write(kind, title[:200], body)


def notify_operators(kind: NotificationKind, title: str, body: str, *, quiet: timedelta) -> bool:
    """Writes a message that is about no run, unless people were told the same a short while ago.

    Returns:
        Whether it was written.
    """
    title = title[:200]
    if Notification.objects.filter(title=title, created_at__gt=timezone.now() - quiet).exists():
        return False
    _write(kind, title, body)
    return True


def _is_no_news(run: RebalanceRun) -> bool:
    """A preview that somebody watches, or a check of the drift that has found nothing to do."""
    if run.event.source in SENDERS_WHO_SEE:
        return True
    found_nothing = run.state == RunState.COMPLETED and not (run.result or {}).get("trades")
    return run.event.source == EventSource.SCHEDULE and found_nothing


def _write(kind: NotificationKind, title: str, body: str, run: RebalanceRun | None = None) -> None:
    """The message for people, and the same for each webhook."""
    message = Notification.objects.create(kind=kind, title=title, body=body, run=run)
    content = {
        "created_at": message.created_at.isoformat(),
        "kind": str(kind),
        "title": title,
        "body": body,
        "run": None if run is None else _run_in_short(run),
    }
    text = json.dumps(content)
    WebhookDelivery.objects.bulk_create(
        WebhookDelivery(webhook=webhook, body=text) for webhook in Webhook.objects.filter(enabled=True)
    )


def _run_in_short(run: RebalanceRun) -> dict[str, str | None]:
    return {
        "run_id": run.run_id,
        "account_id": run.account.account_id,
        "strategy": run.strategy_name,
        "mode": str(run.mode),
        "state": str(run.state),
        "error": run.error_code or None,
    }


def _kind(run: RebalanceRun) -> NotificationKind:
    if run.state == RunState.REFUSED and needs_approval(run.error_code):
        return NotificationKind.WARNING
    if run.state == RunState.DEFERRED:
        return NotificationKind.BLOCKED
    if run.state == RunState.COMPLETED:
        return NotificationKind.WARNING if run.warnings else NotificationKind.SUCCESS
    return NotificationKind.FAILURE


def _title(run: RebalanceRun, kind: NotificationKind) -> str:
    if run.state == RunState.REFUSED:
        return HELD_TITLE if needs_approval(run.error_code) else REFUSED_TITLE
    if run.state == RunState.NEEDS_ATTENTION:
        return ATTENTION_TITLE
    if run.error_code == "resolved_manually":
        return CLOSED_TITLE
    if run.state == RunState.DEFERRED and run.error_code in GUARDS:
        return f"Rebalance deferred ({GUARDS[run.error_code].title})"
    return ("Preview" + TITLES[kind][len("Rebalance") :]) if run.mode == RunMode.PREVIEW else TITLES[kind]


def _what_the_link_is_for(run: RebalanceRun) -> str:
    held = run.state == RunState.REFUSED and needs_approval(run.error_code)
    previewed = run.state == RunState.COMPLETED and run.mode == RunMode.PREVIEW and run.result.get("trades")
    if (held or previewed) and run.plan_expires_at:
        return f"See the plan and send it, until {run.plan_expires_at.astimezone(NEW_YORK):%H:%M:%S} New York time"
    return "Look at it"


def _body(run: RebalanceRun) -> str:
    lines = [f"Strategy {run.strategy_name}, run {run.run_id}." if run.strategy_name else f"Run {run.run_id}."]
    if run.error_message:
        lines.append(run.error_message)
    lines += run.timeline.filter(code=APPROVED_BY_RULE).order_by("-id").values_list("message", flat=True)[:1]
    trades = run.result.get("trades", []) if run.result else []
    if run.mode == RunMode.PREVIEW and run.state == RunState.COMPLETED:
        lines.append(f"The plan has {len(trades)} orders.")
    orders = list(run.orders.all())
    if orders:
        filled = sum(1 for order in orders if order.state == "filled")
        lines.append(f"{filled} of {len(orders)} orders filled.")
    lines += [f"Warning: {warning['message']}" for warning in run.warnings]
    if settings.SITE_URL:
        lines.append(f"{_what_the_link_is_for(run)}: {settings.SITE_URL}/runs/{run.run_id}/")
    # Topics of public notification servers can be read by anybody who guesses their name.
    if settings.USER_NOTIFICATIONS_INCLUDE_VALUES and run.total_value_usd is not None:
        lines.append(f"Account value ${run.total_value_usd:,.2f}, cash ${run.cash_usd:,.2f}.")
    return "\n".join(lines)
