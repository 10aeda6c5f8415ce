"""Fetch the targets of a strategy from the allocations service and validate them."""

import asyncio
import json
import logging
import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import stamina
from pydantic import AliasChoices, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from calculator import AllocationItem
from trading.common.safe_http import ForbiddenAddress, check_url, guarded_client
from trading.errors import RunFailed

logger = logging.getLogger("rebalancer.trading")

MAX_BODY_BYTES = 1_000_000
ATTEMPTS = 3
SYMBOL = re.compile(r"[A-Z][A-Z0-9.\-]{0,14}")
SUM_TOLERANCE = Decimal("0.000001")


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Allocation(_Part):
    symbol: str = Field(validation_alias=AliasChoices("ticker", "symbol"))
    allocation: Decimal = Field(allow_inf_nan=False)


class _Data(_Part):
    strategy: str | None = None
    as_of: AwareDatetime | None = Field(default=None, validation_alias=AliasChoices("as_of", "updated_at"))
    allocations: tuple[_Allocation, ...]


class _Response(_Part):
    status: str | None = None
    data: _Data


class StrategyTargets(NamedTuple):
    """The targets of a strategy, and when they last changed if their source reports it."""

    items: tuple[AllocationItem, ...]
    as_of: datetime | None


class AllocationsClient:
    """Client of the allocations service."""

    def __init__(self, base_url: str, api_key: str, timeout_seconds: float, *, retry_wait_seconds: float = 0.5) -> None:
        self._base_url = base_url.rstrip("/")
        self._api_key = api_key
        self._timeout_seconds = timeout_seconds
        self._retry_wait_seconds = retry_wait_seconds

    async def fetch(self, strategy: str) -> StrategyTargets:
        """Fetch the targets of a strategy.

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
        return parse_allocations(body, strategy)

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


def parse_allocations(body: bytes, strategy: str) -> StrategyTargets:
    """Read a response of the allocations service.

    Raises:
        RunFailed: any part of it is invalid. No part of it is used.
    """
    try:
        content = json.loads(body, parse_float=Decimal)
    except ValueError as error:
        raise RunFailed("allocations_not_json", "The response of the allocations service is not JSON.") from error
    try:
        response = _Response.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RunFailed(
            "allocations_wrong_shape",
            f"The response of the allocations service has the wrong shape at {where or 'its root'}: {first['msg']}.",
        ) from error
    if response.status is not None and response.status != "success":
        raise RunFailed("allocations_http_error", f"The allocations service answered with status {response.status!r}.")
    if response.data.strategy is not None and response.data.strategy != strategy:
        raise RunFailed(
            "allocations_wrong_strategy",
            f"The allocations service answered for {response.data.strategy!r}, not {strategy!r}.",
        )
    items = [_item(item) for item in response.data.allocations]
    return StrategyTargets(check_targets(items), response.data.as_of)


def _item(item: _Allocation) -> AllocationItem:
    if item.allocation < 0:
        raise RunFailed("allocations_negative", f"The allocation of {item.symbol} is {item.allocation}.")
    symbol = item.symbol.strip().upper()
    if not SYMBOL.fullmatch(symbol):
        raise RunFailed("allocations_wrong_shape", f"{item.symbol[:40]!r} is not a symbol.")
    return AllocationItem(symbol=symbol, weight=item.allocation)


def check_targets(items: list[AllocationItem]) -> tuple[AllocationItem, ...]:
    """Return the targets if they can be traded, whatever their source.

    Raises:
        RunFailed: a symbol occurs twice, or the weights add up to zero or to more than one.
    """
    if not items:
        raise RunFailed(
            "allocations_empty", "The strategy has no allocations. Positions are not sold for an empty list."
        )
    symbols = [item.symbol for item in items]
    if twice := sorted({symbol for symbol in symbols if symbols.count(symbol) > 1}):
        raise RunFailed("allocations_duplicate", f"The allocations contain these symbols twice: {', '.join(twice)}.")
    total = sum((item.weight for item in items), Decimal(0))
    if total > 1 + SUM_TOLERANCE:
        raise RunFailed("allocations_above_one", f"The allocations add up to {total.normalize():f}, more than 1.")
    if total <= 0:
        raise RunFailed("allocations_empty", "All allocations are zero. Positions are not sold for an empty list.")
    return tuple(items)


def as_json(items: tuple[AllocationItem, ...]) -> list[Mapping[str, Any]]:
    """Return targets as they are stored on a run."""
    return [{"symbol": item.symbol, "weight": f"{item.weight:f}"} for item in items]
