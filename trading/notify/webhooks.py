"""Delivers webhooks: signed, to checked addresses, again and again until they are taken."""

import asyncio
import hashlib
import hmac
import logging
import time
from typing import Any

import httpx
from django.conf import settings
from django.utils import timezone
from django.utils.crypto import salted_hmac

from trading.common.log_context import redact
from trading.common.safe_http import ForbiddenAddress, check_url, guarded_client
from trading.models import NotificationState, Webhook, WebhookDelivery
from trading.notify.retry import MAX_ATTEMPTS, claim, is_last_attempt

logger = logging.getLogger("rebalancer.trading")

DEADLINE_SECONDS = 10.0


def signing_key(webhook: Webhook) -> str:
    """The key that the receiver checks signatures with; another `key_id` or SECRET_KEY makes another."""
    return salted_hmac("trading.webhooks", webhook.key_id, algorithm="sha256").hexdigest()


def signature(key: str, timestamp: int, body: str) -> str:
    """What `X-Rebalancer-Signature` says: HMAC-SHA256 over the time and the body.

    The time is signed too, so that a receiver can refuse what was recorded earlier.
    """
    digest = hmac.new(key.encode(), f"{timestamp}.{body}".encode(), hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


def check_address(url: str) -> None:
    """Refuses an address to which webhooks may not go.

    Raises:
        ForbiddenAddress: with the reason.
    """
    check_url(url, allow_loopback=settings.PRIVATE_NETWORK_ACCESS)


def deliver_due(limit: int = 50) -> int:
    """Sends the deliveries that are due; one that is not taken is sent again, later each time.

    Returns:
        How many were taken.
    """
    due = WebhookDelivery.objects.filter(
        state=NotificationState.PENDING, next_attempt_at__lte=timezone.now()
    ).select_related("webhook")
    claimed = [row for row in due.order_by("id")[:limit] if claim(row)]
    if not claimed:
        return 0
    problems = asyncio.run(_send_all(claimed))
    for row, problem in zip(claimed, problems, strict=True):
        _mark(row, problem)
    return problems.count("")


async def _send_all(rows: list[WebhookDelivery]) -> list[str]:
    async with guarded_client(DEADLINE_SECONDS, allow_loopback=settings.PRIVATE_NETWORK_ACCESS) as client:
        return list(await asyncio.gather(*(_send(client, row) for row in rows)))


async def _send(client: httpx.AsyncClient, row: WebhookDelivery) -> str:
    """Sends one delivery; what was wrong, or nothing."""
    if not row.webhook.enabled:
        return "The webhook is disabled."
    headers = {
        "Content-Type": "application/json",
        "X-Rebalancer-Delivery": str(row.delivery_id),
        "X-Rebalancer-Signature": signature(signing_key(row.webhook), int(time.time()), row.body),
    }
    try:
        check_address(row.webhook.url)
        async with asyncio.timeout(DEADLINE_SECONDS):
            # The answer's body is nobody's business, and could be endless.
            async with client.stream("POST", row.webhook.url, content=row.body, headers=headers) as answer:
                return "" if answer.is_success else f"It answered {answer.status_code}."
    except ForbiddenAddress as error:
        return str(error)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        return f"It cannot be reached ({type(error).__name__})."


def _mark(row: WebhookDelivery, problem: str) -> None:
    changes: dict[str, Any] = {"last_error": redact(problem)}
    if not problem:
        changes |= {"state": NotificationState.SENT, "sent_at": timezone.now()}
    elif is_last_attempt(row):
        changes |= {"state": NotificationState.ABANDONED, "last_error": f"{problem} Given up after {MAX_ATTEMPTS}."}
    if problem:
        logger.warning("Webhook %s: %s (attempt %s)", row.webhook, problem, row.attempts + 1)
    WebhookDelivery.objects.filter(pk=row.pk).update(**changes)
