"""Sign webhooks as Standard Webhooks specifies, and send them to checked addresses.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import asyncio
import base64
import hashlib
import hmac
import time

import httpx
from django.conf import settings
from django.utils.crypto import salted_hmac

from trading.common.safe_http import ForbiddenAddress, check_url, guarded_client
from trading.models import Delivery, Webhook

TIMEOUT_SECONDS = 10.0


def signing_key(webhook: Webhook) -> bytes:
    """Return the signing key. It changes with the `key_id` of the webhook and with SECRET_KEY."""
    return salted_hmac("trading.webhooks", webhook.key_id, algorithm="sha256").digest()


def signing_secret(webhook: Webhook) -> str:
    """Return the signing key in the form that receivers configure."""
    return f"whsec_{base64.b64encode(signing_key(webhook)).decode()}"


def signature(key: bytes, message_id: str, timestamp: int, body: str) -> str:
    """Return the value of the header `webhook-signature`.

    The timestamp (Unix time in seconds) is signed too, so that a receiver can reject replayed requests.
    """
    signed = f"{message_id}.{timestamp}.{body}".encode()
    return f"v1,{base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()}"


def check_address(url: str) -> None:
    """Check an address to which webhooks are sent.

    Raises:
        ForbiddenAddress: the address is not allowed; the message contains the reason.
    """
    check_url(url, allow_loopback=settings.PRIVATE_NETWORK_ACCESS)


async def send(delivery: Delivery, webhook: Webhook) -> str:
    """Send a delivery to its webhook. Return the error; empty if the receiver accepted the delivery."""
    if not webhook.enabled:
        return "The webhook is disabled."
    message_id, timestamp = str(delivery.delivery_id), int(time.time())
    headers = {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(signing_key(webhook), message_id, timestamp, delivery.body),
    }
    try:
        check_address(webhook.url)
        async with (
            asyncio.timeout(TIMEOUT_SECONDS),
            guarded_client(TIMEOUT_SECONDS, allow_loopback=settings.PRIVATE_NETWORK_ACCESS) as client,
            # The body of the response is not read: it is not needed and could be endless.
            client.stream("POST", webhook.url, content=delivery.body, headers=headers) as response,
        ):
            return "" if response.is_success else f"The receiver returned status {response.status_code}."
    except ForbiddenAddress as error:
        return str(error)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        return f"The receiver is unreachable ({type(error).__name__})."
