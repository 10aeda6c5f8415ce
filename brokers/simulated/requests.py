"""The requests of one connection: those that wait at the same time share one transaction."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from asgiref.sync import sync_to_async

from brokers.exceptions import BrokerError, BrokerSilent
from brokers.simulated.locked_accounts import LockedAccounts
from brokers.simulated.matching_engine import lock_accounts

T = TypeVar("T")

MAXIMUM_WAIT_SECONDS = 120.0
"""Maximum wait for the database, in seconds. A busy machine delays an answer; it does not make the broker silent."""

Request = Callable[[LockedAccounts], Any]


class RequestQueue:
    """Answers the requests of one connection in the order in which they arrive."""

    def __init__(self, served: Callable[[], Sequence[str]], check_connection: Callable[[], None]) -> None:
        """Lock the accounts that `served` returns.

        `check_connection` raises `BrokerConnectionError` if the connection was replaced.
        """
        self._served = served
        self._check_connection = check_connection
        self._waiting: list[tuple[Request, asyncio.Future[Any]]] = []
        self._server: asyncio.Task[None] | None = None

    async def ask(self, request: Callable[[LockedAccounts], T]) -> T:
        """Call the function with the locked accounts, and return its result when its changes are committed.

        A `BrokerError` of the function is an answer: what the function changed before is committed.

        Raises:
            BrokerError: the function raised it, or the connection was replaced.
            BrokerSilent: the database did not answer within `MAXIMUM_WAIT_SECONDS`.
            DatabaseError: the transaction failed; nothing of it is stored.
        """
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, answer))
        if self._server is None or self._server.done():
            self._server = asyncio.create_task(self._serve(), name="simulated broker")
        return await wait_for_database(answer)

    async def _serve(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            requests = [request for request, _ in waiting]
            try:
                results = await sync_to_async(self._answer_together)(requests)
            except Exception as error:  # noqa: BLE001 - raised again for each caller
                results = [error] * len(requests)
            for (_, answer), result in zip(waiting, results, strict=True):
                if answer.done():
                    continue  # the caller was cancelled
                if isinstance(result, Exception):
                    answer.set_exception(result)
                else:
                    answer.set_result(result)

    def _answer_together(self, requests: Sequence[Request]) -> list[Any]:
        self._check_connection()
        with lock_accounts(self._served()) as accounts:
            return [_answer(request, accounts) for request in requests]


def _answer(request: Request, accounts: LockedAccounts) -> Any:
    try:
        return request(accounts)
    except BrokerError as error:
        return error


async def wait_for_database(answer: Awaitable[T]) -> T:
    """Wait for an answer of the database.

    Raises:
        BrokerSilent: there is none within `MAXIMUM_WAIT_SECONDS`.
    """
    try:
        async with asyncio.timeout(MAXIMUM_WAIT_SECONDS):
            return await answer
    except TimeoutError as error:
        raise BrokerSilent(f"No response within {MAXIMUM_WAIT_SECONDS:g} seconds.") from error
