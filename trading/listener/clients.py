"""Makes the SDK's two clients, each in the way that it works for it."""

import asyncio
import contextlib
import logging
from typing import Any

from ably import AblyException, AblyRealtime, AblyRest

from trading.listener.config import ListenerConfig

logger = logging.getLogger("rebalancer.trading")

TOKEN_ERRORS = range(40140, 40150)
KEY_ERRORS = {40005, 40300, 40400}


def open_realtime(config: ListenerConfig) -> AblyRealtime:
    """A realtime client that is connecting. To be made inside the loop that runs it."""
    timing = config.timing
    options: dict[str, Any] = {}
    if config.endpoint:
        # Its websocket address has no other place for a port.
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
    """A REST client, apart: history through the realtime client would attach its channels anew."""
    options: dict[str, Any] = {"endpoint": config.endpoint} if config.endpoint else {}
    if config.port:
        options["tls_port" if config.tls else "port"] = config.port
    return AblyRest(
        config.key.get_secret_value(),
        tls=config.tls,
        use_binary_protocol=False,
        use_token_auth=None if config.tls else True,  # a bare key is not sent in the clear
        **options,
    )


async def close(client: AblyRealtime | AblyRest, seconds: float) -> None:
    """Closes a client; one that does not come to an end is left behind.

    Not by `asyncio.timeout`: the SDK swallows a cancellation where it closes, and would be waited for without an end.
    """
    closing = asyncio.ensure_future(client.close())
    closing.add_done_callback(lambda task: task.cancelled() or task.exception())  # looked at, also if left behind
    try:
        await asyncio.wait({closing}, timeout=seconds)
    finally:
        closing.cancel()
    if closing.done() and not closing.cancelled():
        with contextlib.suppress(TimeoutError, AblyException, OSError):
            closing.result()


def refuses_key(error: AblyException | None) -> bool:
    """Whether the service will not have this key, however often it is asked."""
    if error is None or not isinstance(error.code, int):
        return False
    return error.code in KEY_ERRORS or (40100 <= error.code < 40200 and error.code not in TOKEN_ERRORS)


def words(error: BaseException | None) -> str:
    """An error in a few words; the SDK's own carry codes, and never a key."""
    if isinstance(error, AblyException):
        return f"{error.code}: {error.message}"
    return f"{type(error).__name__}: {error}" if error else "no reason given"
