"""Checks of other services: allocations, the listener's events, notifications."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import apprise
from django.conf import settings
from django.utils import timezone

from accounts.models import Strategy
from calculator.formats import percent
from trading.errors import RunFailed
from trading.models import Delivery, DeliveryState
from trading.monitoring.doctor.findings import Finding, off, ok, problem
from trading.monitoring.status import listener_health
from trading.notify.channels import channels
from trading.planning.allocations import AllocationsClient

ALLOCATIONS_TIMEOUT_SECONDS = 10.0
OVERDUE_AFTER = timedelta(minutes=10)
REFUSED = r"status 4(01|03|04|10)\."
"""Error of a delivery that no later attempt can send: the key or the address is wrong."""
FAILED_WITHIN = timedelta(days=1)


def allocations() -> Iterator[Finding]:
    """Request the targets of each enabled strategy that uses the allocations service."""
    strategies = Strategy.objects.filter(enabled=True, source=Strategy.Source.API).order_by("name")
    if found := list(strategies):
        yield from asyncio.run(_fetch_all(found))
    else:
        yield off("No enabled strategy uses the allocations service.")


async def _fetch_all(strategies: list[Strategy]) -> list[Finding]:
    key = settings.ALLOCATIONS_API_KEY.get_secret_value()
    client = AllocationsClient(settings.ALLOCATIONS_BASE_URL, key, ALLOCATIONS_TIMEOUT_SECONDS)
    return list(await asyncio.gather(*(_fetch(client, strategy) for strategy in strategies)))


async def _fetch(client: AllocationsClient, strategy: Strategy) -> Finding:
    name = strategy.name
    try:
        targets, _, warnings = await client.fetch(name, strategy.stocks_named_like_cash)
    except RunFailed as failure:
        to_do = "Check ALLOCATIONS_BASE_URL and ALLOCATIONS_API_KEY, or disable the strategy if it no longer exists."
        return problem(f"{name}: {failure.message}", to_do)
    notes = "".join(f" {warning.message}" for warning in warnings)
    total = percent(sum(item.weight for item in targets) * 100, 2, trim=True)
    return ok(f"{name}: {len(targets)} targets, sum of weights {total}.{notes}")


def listener() -> Iterator[Finding]:
    """Check that every channel receives messages, and show messages that may be lost."""
    health = listener_health()
    report = health.report
    if not health.is_enabled:
        yield off("REALTIME_API_KEY is not set: events are received only from commands, the admin and the API.")
    elif report is None:
        for sentence in health.problems:
            yield problem(sentence, "Start `manage.py listen` under a supervisor that restarts it.")
    else:
        gaps = [channel for channel in report.channels if channel.gap]
        for sentence in health.problems:
            yield problem(f"{sentence[:1].upper()}{sentence[1:]}.", "See the listener states in docs/operations.md.")
        for channel in gaps:
            to_do = "Publish missing messages again, and enable persistence of the channel in Ably."
            yield problem(f"Messages of {channel.name} may be lost: {channel.gap}.", to_do)
        if not health.problems and not gaps:
            ping = f", ping {report.ping_ms:.0f} ms" if report.ping_ms is not None else ""
            summary = f"{len(report.channels)} channels, {health.unhealthy_channels} unhealthy"
            yield ok(f"{health.listener}: {report.state}{ping}; {summary}.")


def notifications() -> Iterator[Finding]:
    """Check the configured notification channels and the outbox."""
    pending = Delivery.objects.filter(state=DeliveryState.PENDING)
    refused = pending.filter(last_error__regex=REFUSED).order_by("channel")
    for channel, error in refused.values_list("channel", "last_error").distinct():
        yield problem(f"{channel} refuses messages: {error}", "Correct its address and key. Waiting does not help.")
    urls = [channel.url for channel in channels()]
    if not urls:
        yield off(
            "No notification channel is configured. To be notified of failures, set USER_NOTIFICATIONS_ENABLED and "
            "USER_NOTIFICATIONS_CHANNEL, or NOTIFICATION_URLS."
        )
        return
    if unsupported := sum(1 for url in urls if not apprise.Apprise().add(url)):
        message = f"Apprise does not support {unsupported} of {len(urls)} notification URLs."
        yield problem(message, "Correct NOTIFICATION_URLS.")
        return
    yield ok(f"Configured notification channels: {len(urls)}.")
    now = timezone.now()
    overdue = pending.filter(created_at__lt=now - OVERDUE_AFTER).count()
    failed = Delivery.objects.filter(state=DeliveryState.ABANDONED, created_at__gte=now - FAILED_WITHIN).count()
    if overdue or failed:
        message = f"Overdue messages: {overdue}. Failed in the last 24 hours: {failed}."
        yield problem(message, "See the log for the channel's response. The admin lists the messages.")
    else:
        yield ok("No message in the outbox is overdue.")
