"""Read the history of a channel over REST, oldest message first, and the clock of the service."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import ably
import httpx
from ably import AblyException, AblyRest
from django.utils import timezone

from trading.listener.clients import TOKEN_ERRORS, describe
from trading.listener.messages import EPOCH, Received, from_history

PAGE_SIZE = 500
RESPONSE_ERRORS = (AblyException, httpx.HTTPError, OSError, ValueError, TypeError, LookupError, AttributeError)


class HistoryUnavailable(Exception):  # noqa: N818 - a state, not a defect
    """History cannot be read at the moment. Try again later."""


class HistoryRefused(HistoryUnavailable):
    """The key may not read the history of the channel."""


@dataclass(frozen=True)
class ServiceClock:
    """The bounds of the difference between the service's clock and ours.

    The service read its clock at some time between our question and the arrival of its answer.
    """

    earliest: timedelta
    latest: timedelta


class History:
    """Reads the messages that the service still stores."""

    def __init__(self, rest: AblyRest, request_seconds: float) -> None:
        self._rest = rest
        self._seconds = request_seconds
        self._clock: ServiceClock | None = None

    async def clock(self) -> "ServiceClock":
        """Return how far the clock of the service is from ours, which is measured once.

        Raises:
            HistoryUnavailable: the service did not respond.
        """
        if self._clock is None:
            asked_at = timezone.now()
            response = await self._within(self._rest.time())
            answered = EPOCH + timedelta(milliseconds=float(response))
            self._clock = ServiceClock(earliest=answered - timezone.now(), latest=answered - asked_at)
        return self._clock

    async def now(self) -> datetime:
        """Return the current time by the clock of the service, or an earlier time, never a later one.

        A later time would leave out messages that are published before it.

        Raises:
            HistoryUnavailable: the service did not respond.
        """
        return (await self.clock()).earliest + timezone.now()

    async def pages(self, channel: str, start: datetime) -> AsyncIterator[list[Received]]:
        """Yield the messages published since `start`, oldest first, page by page.

        Raises:
            HistoryRefused: the key may not read the history.
            HistoryUnavailable: no response, or an unreadable one.
        """
        milliseconds = (start - EPOCH) // timedelta(milliseconds=1)
        page = await self._page(channel, {"start": milliseconds, "direction": "forwards", "limit": PAGE_SIZE})
        while page is not None:
            yield [from_history(channel, item) for item in page.items]
            page = _checked(channel, await self._within(page.next()))

    async def oldest(self, channel: str) -> datetime | None:
        """Return the publication time of the oldest message that is still stored."""
        page = await self._page(channel, {"direction": "forwards", "limit": 1})
        return from_history(channel, page.items[0]).published_at if page.items else None

    async def _page(self, channel: str, params: Mapping[str, object]) -> Any:
        path = f"/channels/{quote(channel, safe='')}/messages"

        async def request() -> Any:
            return await self._rest.request("GET", path, ably.api_version, params=dict(params))

        page = await self._within(request())
        if _error_code(page) in TOKEN_ERRORS:  # raw requests do not renew a token
            await self._within(self._rest.auth.authorize())
            page = await self._within(request())
        return _checked(channel, page)

    async def _within(self, request: Any) -> Any:
        try:
            async with asyncio.timeout(self._seconds):
                return await request
        except TimeoutError as error:
            raise HistoryUnavailable(f"history did not respond within {self._seconds:g} s") from error
        except RESPONSE_ERRORS as error:
            raise HistoryUnavailable(f"history cannot be read: {describe(error)}") from error


def _checked(channel: str, page: Any) -> Any:
    if page is None or page.success:
        return page
    sentence = f"{_error_code(page) or page.status_code}: {_error(page).get('message', 'no message')}"
    if page.status_code in {401, 403} and _error_code(page) not in TOKEN_ERRORS:
        raise HistoryRefused(f"the key may not read the history of {channel} ({sentence})")
    raise HistoryUnavailable(f"history cannot be read: {sentence}")


def _error(page: Any) -> Mapping[str, Any]:
    content = page.items[0] if page.items else None
    found = content.get("error") if isinstance(content, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _error_code(page: Any) -> int:
    code = 0 if page.success else _error(page).get("code", page.error_code)
    return int(code) if str(code).isdigit() else 0
