"""Create and close the two clients of the SDK, with the options that each of them needs."""

import asyncio
import contextlib
from typing import Any

from ably import AblyException, AblyRealtime, AblyRest

from trading.listener.config import ListenerConfig

TOKEN_ERRORS = range(40140, 40150)
KEY_ERRORS = {40005, 40300, 40400}


def open_realtime(config: ListenerConfig) -> AblyRealtime:
    """Return a realtime client that is connecting. Call it inside the event loop that runs the client."""
    timing = config.timing
    options: dict[str, Any] = {}
    if config.endpoint:
        # The SDK's websocket address has no other place for a port.
        options["endpoint"] = f"{config.endpoint}:{config.port}" if config.port else config.endpoint
    return AblyRealtime(
        config.key.get_secret_value(),
        tls=config.tls,
        use_binary_protocol=False,
        transport_params={"heartbeats": "true"},
        realtime_request_timeout=timing.request * 1000,
        disconnected_retry_timeout=timing.client_retry * 1000,
        suspended_retry_timeout=timing.client_retry * 1000,
        channel_retry_timeout=timing.client_retry * 1000,
        **options,
    )


def open_rest(config: ListenerConfig) -> AblyRest:
    """Return a separate REST client: reading history through the realtime client would attach its channels again."""
    options: dict[str, Any] = {"endpoint": config.endpoint} if config.endpoint else {}
    if config.port:
        options["tls_port" if config.tls else "port"] = config.port
    return AblyRest(
        config.key.get_secret_value(),
        tls=config.tls,
        use_binary_protocol=False,
        use_token_auth=None if config.tls else True,  # a basic key is not sent unencrypted
        **options,
    )


async def close(client: AblyRealtime | AblyRest, seconds: float) -> None:
    """Close a client, and abandon it if it does not close in time.

    `asyncio.timeout` cannot be used: the SDK swallows a cancellation while it closes, and the wait would not end.
    """
    closing = asyncio.ensure_future(client.close())
    closing.add_done_callback(lambda task: task.cancelled() or task.exception())  # retrieved, also if abandoned
    try:
        await asyncio.wait({closing}, timeout=seconds)
    finally:
        closing.cancel()
    if closing.done() and not closing.cancelled():
        with contextlib.suppress(TimeoutError, AblyException, OSError):
            closing.result()


def refuses_key(error: AblyException | None) -> bool:
    """Return whether the service rejects the key permanently."""
    if error is None or not isinstance(error.code, int):
        return False
    return error.code in KEY_ERRORS or (40100 <= error.code < 40200 and error.code not in TOKEN_ERRORS)


def describe(error: BaseException | None) -> str:
    """Return a short text for an error. The SDK's errors contain codes, and never a key."""
    if isinstance(error, AblyException):
        return f"{error.code}: {error.message}"
    return f"{type(error).__name__}: {error}" if error else "no reason given"
