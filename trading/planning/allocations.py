"""Fetch the targets of a strategy from the allocations service."""

import asyncio
import logging
from collections.abc import Collection
from urllib.parse import quote

import httpx
import stamina

from trading.common.safe_http import ForbiddenAddress, check_url, guarded_client
from trading.errors import RunFailed
from trading.planning.targets import StrategyTargets, parse_allocations

logger = logging.getLogger("rebalancer.trading")

MAX_BODY_BYTES = 1_000_000
ATTEMPTS = 3


class AllocationsClient:
    """Client of the allocations service."""

    def __init__(self, base_url: str, api_key: str, timeout_seconds: float, *, retry_wait_seconds: float = 0.5) -> None:
        self._base_url = base_url.rstrip("/")
        self._api_key = api_key
        self._timeout_seconds = timeout_seconds
        self._retry_wait_seconds = retry_wait_seconds

    async def fetch(self, strategy: str, stocks: Collection[str] = ()) -> StrategyTargets:
        """Fetch the targets of a strategy.

        Args:
            strategy: its name.
            stocks: symbols that mean the stock although they read like cash.

        Returns:
            Weights as fractions, in the order of the response; no symbol twice, none negative, sum at most 1. Their
            time is the response's `as_of` or `updated_at`.

        Raises:
            RunFailed: with an `allocations_*` code. Do not trade on other targets instead.
        """
        check_address(self._base_url)
        url = f"{self._base_url}/{quote(strategy, safe='')}/allocations"
        failures: list[_TemporaryFailure] = []
        try:
            async with asyncio.timeout(self._timeout_seconds):
                body = await self._get(url, failures)
        except TimeoutError as error:
            if failures:  # an earlier response explains more than the timeout
                raise failures[-1] from error
            raise RunFailed(
                "allocations_timeout",
                f"The allocations service did not answer within {self._timeout_seconds:g} seconds.",
            ) from error
        return parse_allocations(body, strategy, stocks)

    async def _get(self, url: str, failures: list["_TemporaryFailure"]) -> bytes:
        """Return the body. Retry on timeouts, broken connections and 5xx responses."""
        wait = self._retry_wait_seconds
        async for attempt in stamina.retry_context(
            on=_TemporaryFailure, attempts=ATTEMPTS, timeout=None, wait_initial=wait, wait_jitter=wait
        ):
            with attempt:
                try:
                    return await self._get_once(url)
                except _TemporaryFailure as failure:
                    failures.append(failure)
                    raise
        raise AssertionError  # the loop returns or raises

    async def _get_once(self, url: str) -> bytes:
        async with guarded_client(self._timeout_seconds / ATTEMPTS) as client:
            try:
                async with client.stream("GET", url, headers={"x-api-key": self._api_key}) as response:
                    _check_status(response)
                    return await _read(response)
            except ForbiddenAddress as error:
                raise RunFailed("allocations_not_configured", f"ALLOCATIONS_BASE_URL: {error}") from error
            except (httpx.InvalidURL, httpx.LocalProtocolError, UnicodeError) as error:
                raise RunFailed(
                    "allocations_not_configured",
                    "ALLOCATIONS_BASE_URL or ALLOCATIONS_API_KEY contains characters that a request cannot have.",
                ) from error
            except httpx.DecodingError as error:
                raise RunFailed(
                    "allocations_not_json",
                    "The response of the allocations service is not valid for its Content-Encoding.",
                ) from error
            except httpx.TimeoutException as error:
                raise _TemporaryFailure(
                    "allocations_timeout", "The allocations service did not answer in time."
                ) from error
            except httpx.TransportError as error:
                raise _TemporaryFailure(
                    "allocations_unreachable",
                    f"The allocations service cannot be reached ({type(error).__name__}). Check ALLOCATIONS_BASE_URL.",
                ) from error


class _TemporaryFailure(RunFailed):
    """A failure that is worth a retry."""


def check_address(base_url: str) -> None:
    """Check that the API key may be sent to an address.

    Raises:
        RunFailed: it is empty, or neither https nor plain http to this machine.
    """
    try:
        check_url(base_url)
    except ForbiddenAddress as error:
        raise RunFailed(
            "allocations_not_configured",
            "ALLOCATIONS_BASE_URL must be an https address (plain http to this machine only).",
        ) from error


def _check_status(response: httpx.Response) -> None:
    if response.is_redirect:
        raise RunFailed(
            "allocations_redirected",
            "The allocations service redirects, which is not followed. Set ALLOCATIONS_BASE_URL to the final address.",
        )
    if response.is_server_error:
        raise _TemporaryFailure("allocations_http_error", f"The allocations service answered {response.status_code}.")
    if not response.is_success:
        hint = " Check ALLOCATIONS_API_KEY." if response.status_code in {401, 403} else ""
        raise RunFailed("allocations_http_error", f"The allocations service answered {response.status_code}.{hint}")


async def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise RunFailed(
                "allocations_too_large",
                f"The response of the allocations service is larger than {MAX_BODY_BYTES:,} bytes.",
            )
    return bytes(body)
