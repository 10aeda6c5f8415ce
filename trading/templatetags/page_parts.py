"""Tags for the parts that several pages have: chips, tiles, times and buttons."""

from datetime import date, datetime, timedelta
from typing import Any

from django import template
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from accounts.models import Account
from brokers.exchange_calendar import NEW_YORK
from trading.actions.preview_state import is_waiting
from trading.common.formats import ZONE, Layout, age_text, day_text, duration_text, instant_text
from trading.journal import outcomes
from trading.models import Delivery, RebalanceRun, RunMode, RunOutcome, ScheduleEntry, ScheduleState, StrategyEvent
from trading.templatetags.number_format import NO_VALUE

register = template.Library()

UNITS = (" pp", "%")
OUTCOME_STYLES: dict[str, str] = {
    RunOutcome.NOTHING_TO_DO: "",
    RunOutcome.DONE: "rb-good",
    RunOutcome.PARTLY_DONE: "rb-warn",
    RunOutcome.STOPPED: "rb-warn",
    RunOutcome.REFUSED: "rb-warn",
    RunOutcome.DEFERRED: "rb-warn",
    RunOutcome.FAILED: "rb-bad",
    RunOutcome.NEEDS_ATTENTION: "rb-bad",
}
ENTRY_STYLES = {
    "waiting": "rb-blue",
    "started": "rb-blue",
    "completed": "rb-good",
    "failed": "rb-bad",
    "missed": "rb-warn",
}
DELIVERY_STYLES = {"pending": "rb-blue", "sent": "rb-good", "abandoned": "rb-bad"}


def _chip(text: str, style: str = "") -> SafeString:
    return format_html('<span class="{}">{}</span>', f"rb-chip {style}".strip(), text)


@register.simple_tag
def account_chip(account: Account) -> SafeString:
    """Return whether an account is live, paper or simulated."""
    if account.type == Account.Type.LIVE:
        return _chip("LIVE", "rb-live")
    return _chip("SIM") if account.broker == "simulated" else _chip("PAPER", "rb-blue")


@register.simple_tag
def run_chip(run: RebalanceRun) -> SafeString:
    """Return the outcome of a run, or its state while it has none. Only a plan that was carried out is green."""
    if is_waiting(run):
        return _chip("Waiting for approval", "rb-warn")
    if run.is_held:  # approved, declined or expired: another run, or nobody, carries the plan out
        return _chip("Held for approval")
    if run.mode == RunMode.PREVIEW and run.outcome == RunOutcome.DONE:
        return _chip("Planned")
    if run.outcome:
        return _chip(RunOutcome(run.outcome).label, OUTCOME_STYLES[run.outcome])
    return _chip(run.get_state_display(), "" if run.is_finished else "rb-blue")


@register.filter
def orders_text(run: RebalanceRun) -> str:
    """Return how many orders of an ended run were filled, and why not all; empty if it planned none."""
    return outcomes.orders_text(run)


@register.filter
def outcome_label(run: RebalanceRun) -> str:
    """Return the outcome of a run, or its state while it has none."""
    return outcomes.outcome_label(run)


@register.simple_tag
def event_chip(event: StrategyEvent) -> SafeString:
    """Return the state of a strategy event."""
    return _chip(event.get_state_display(), f"rb-event-{event.state}")


@register.simple_tag
def schedule_chip(entry: ScheduleEntry) -> SafeString:
    """Return the state of a schedule entry; of a completed one, the outcome of its run."""
    if entry.state == ScheduleState.COMPLETED and entry.run is not None and entry.run.outcome:
        return run_chip(entry.run)
    return _chip(entry.get_state_display(), ENTRY_STYLES.get(entry.state, ""))


@register.simple_tag
def delivery_chip(delivery: Delivery) -> SafeString:
    """Return the state of a delivery."""
    return _chip(delivery.get_state_display(), DELIVERY_STYLES.get(delivery.state, ""))


@register.simple_tag
def side(*, is_sell: bool) -> SafeString:
    """Return the side of an order: buy or sell."""
    style, text = ("rb-sell", "▼ Sell") if is_sell else ("rb-buy", "▲ Buy")
    return format_html('<span class="rb-side {}">{}</span>', style, text)


@register.simple_tag
def timestamp(value: datetime | None, layout: Layout = "seconds") -> SafeString:
    """Return an instant as a `time` element, which `local_time.js` rewrites into the reader's time zone.

    The layout is "seconds", "minutes", "day" or "clock" (the time without the date). Without the script, the element
    shows New York time and its name.
    """
    if value is None:
        return SafeString(NO_VALUE)
    element = '<time datetime="{}" data-local="{}">{} {}</time>'
    return format_html(element, _iso(value), layout, instant_text(value, layout), ZONE)


@register.simple_tag
def new_york_time(value: datetime | None, layout: Layout = "minutes", *, with_zone: bool = True) -> SafeString:
    """Return an instant of the exchange's day as a `time` element, in New York time for every reader."""
    if value is None:
        return SafeString(NO_VALUE)
    text = instant_text(value, layout, weekday=layout == "minutes")
    return format_html('<time datetime="{}">{}</time>', _iso(value), f"{text} {ZONE}" if with_zone else text)


@register.simple_tag
def age(value: datetime | None) -> SafeString:
    """Return how long ago an instant was, as a `time` element: 3 min ago."""
    if value is None:
        return SafeString(NO_VALUE)
    element = '<time datetime="{}" title="{} {}" data-local="title">{}</time>'
    return format_html(element, _iso(value), instant_text(value), ZONE, age_text(timezone.now() - value))


@register.filter
def ago(seconds: float | None) -> str:
    """Write an age in seconds: 3 min ago."""
    return NO_VALUE if seconds is None else age_text(seconds)


@register.filter
def day(value: date | None, weekday: bool = True) -> SafeString:  # noqa: FBT001, FBT002 - a filter's argument
    """Return a date, such as a session, as a `time` element: Mon 30 Nov 2026, or 30 Nov 2026 without its weekday."""
    if value is None:
        return SafeString(NO_VALUE)
    return format_html('<time datetime="{}">{}</time>', value.isoformat(), day_text(value, weekday=weekday))


@register.filter
def duration(value: timedelta | float | None) -> str:
    """Write a duration, or a number of seconds: 4 min 59 s."""
    return NO_VALUE if value is None else duration_text(value)


def _iso(value: datetime) -> str:
    return value.astimezone(NEW_YORK).isoformat(timespec="seconds")


@register.simple_block_tag
def tile(
    content: str, title: str, figure: object, *, total: object = "", style: str = "", is_text: bool = False
) -> str:
    """Return a tile: a title, one formatted figure, and the content as the line below it.

    The unit is written smaller, and so is a figure that is a date or a name (`is_text`). `total` is the number that the
    figure is a part of; the style "warn" marks a figure that needs attention.
    """
    number = str(figure)
    unit = next((unit for unit in UNITS if number.endswith(unit)), "")
    context = {
        "title": title,
        "figure": number.removesuffix(unit) if unit else figure,
        "unit": f"/{total}" if total else unit,
        # The template between the tags has escaped it.
        "note": mark_safe(content.strip()),  # noqa: S308
        "style": style,
        "is_text": is_text,
    }
    return render_to_string("trading/parts/tile.html", context)


@register.inclusion_tag("trading/parts/post_button.html", takes_context=True)
def post_button(
    context: dict[str, Any],
    label: str,
    view: str,
    *arguments: object,
    style: str = "",
    aria_label: str = "",
    element_id: str = "",
) -> dict[str, object]:
    """Return a button that posts to a view, as a form of its own. Its style is "primary", "danger" or nothing.

    `aria_label` is the accessible name of a button whose label alone is ambiguous.
    """
    return {
        "csrf_token": context.get("csrf_token"),
        "address": reverse(view, args=arguments),
        "label": label,
        "style": style,
        "aria_label": aria_label,
        "element_id": element_id,
    }
