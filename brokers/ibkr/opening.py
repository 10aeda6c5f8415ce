"""One attempt to open a connection to a gateway. It ends with a ready client, or with the gateway's own reason."""

import asyncio
from contextlib import suppress
from typing import Any

from brokers.broker_types import ConnectionSettings
from brokers.exceptions import (
    BrokerConnectionError,
    BrokerSilent,
    BrokerUnreachable,
    ClientIdInUse,
    WrongEnvironment,
)
from brokers.ibkr.errors import CLIENT_ID_IN_USE, CODES, Effect, effect_of, error_text
from brokers.ibkr.ib_client import IBClient
from brokers.ibkr.mapping import is_paper_account
from brokers.ibkr.settings import GatewaySettings


class Opening:
    """Connects a client of the library, and reports why the gateway does not accept it."""

    def __init__(self, ib: IBClient, settings: ConnectionSettings, gateway: GatewaySettings) -> None:
        self._ib = ib
        self._settings = settings
        self._gateway = gateway
        self._address = f"{gateway.host}:{gateway.port}"
        self._last_message = ""
        self._refusal: asyncio.Future[BrokerConnectionError] = asyncio.get_running_loop().create_future()
        ib.errorEvent += self._on_error
        ib.client.conn.disconnected += self._on_socket_closed

    async def run(self, seconds: float, close_seconds: float) -> None:
        """Connect within the deadline; close the socket if that fails.

        Raises:
            BrokerConnectionError: The subclass names the reason.
        """
        connecting = asyncio.create_task(self._connect(seconds))
        # The library notices a refusal only at the end of its timeout.
        self._refusal.add_done_callback(lambda _: connecting.cancel())
        try:
            await connecting
            self._check_environment()
        except BaseException as error:
            await close_socket(self._ib, close_seconds)
            task = asyncio.current_task()
            is_cancelled = task is not None and task.cancelling()  # closing the socket then looks like a refusal
            if isinstance(error, asyncio.CancelledError) and self._refusal.done() and not is_cancelled:
                raise self._refusal.result() from None
            raise

    async def _connect(self, seconds: float) -> None:
        host, port, client_id = self._gateway.host, self._gateway.port, self._settings.client_id
        try:
            # The library limits the time of each step, but not their sum.
            async with asyncio.timeout(seconds):
                # IB.connectAsync would wait for positions here. They are requested later, beside other requests.
                self._ib.wrapper.clientId = client_id
                await self._ib.client.connectAsync(host, port, client_id, seconds)
        except TimeoutError as error:
            raise BrokerSilent(
                f"The gateway at {self._address} accepted the connection but did not respond within {seconds:.0f} s. "
                f"Check that it is logged in.{self._last_message}"
            ) from error
        except OSError as error:
            raise BrokerUnreachable(
                f"No gateway responds at {self._address} ({error}). {CODES[502].action}{self._last_message}"
            ) from error

    def _check_environment(self) -> None:
        """Refuse paper accounts in a live configuration, and the reverse: the port is wrong."""
        environment, accounts = self._settings.environment, self._ib.managedAccounts()
        wrong = [account for account in accounts if is_paper_account(account) != (environment == "paper")]
        if wrong:
            raise WrongEnvironment(
                f"The gateway at {self._address} manages {', '.join(wrong)}, which is not a {environment} account. Set "
                f"IB_PORT to the port of the {environment} gateway, or change TRADING_MODE."
            )

    # ---- events of the library

    def _on_error(self, _request_id: int, code: int, message: str, _contract: Any) -> None:
        effect, text = effect_of(code), error_text(code, message)
        if effect is not Effect.NOTICE:
            self._last_message = f" The gateway's last message: {text}"
        if code == CLIENT_ID_IN_USE:
            client_id = self._settings.client_id
            self._refuse(ClientIdInUse(f"Client id {client_id} is in use at the gateway. {CODES[code].action}"))
        elif effect is Effect.REFUSES_CONNECTION:
            self._refuse(BrokerConnectionError(f"The gateway at {self._address} refused the connection. {text}"))

    def _on_socket_closed(self, message: str) -> None:
        self._refuse(
            BrokerUnreachable(
                f"The gateway at {self._address} closed the connection at once ({message or 'without a message'}). "
                f"Check that its API is enabled for this host.{self._last_message}"
            )
        )

    def _refuse(self, error: BrokerConnectionError) -> None:
        if not self._refusal.done():
            self._refusal.set_result(error)


async def close_socket(ib: IBClient, seconds: float) -> None:
    """Close the connection; without the gateway's consent after this time."""
    connection = ib.client.conn
    transport = connection.transport
    ib.client.disconnect()
    if transport is None or connection.transport is None:
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await connection.disconnected
            return
    transport.abort()
