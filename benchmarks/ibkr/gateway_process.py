"""Run the gateway in its own process, as in production, so that neither side shares its interpreter."""

import multiprocessing
from dataclasses import dataclass

from benchmarks.ibkr.accounts import make_book

ONE_WAY_SECONDS = 0.020
FILL_SECONDS = 0.100


@dataclass(frozen=True)
class Seen:
    """Counters and account records of the gateway after a round."""

    last_fill_at: float
    orders: int
    filled: int
    sent_twice: int
    lowest_cash: float
    cash_share: float
    went_short: int
    peak_rate: int
    clients: int


class GatewayProcess:
    """A gateway process with the given number of accounts; it reports its counters on request."""

    def __init__(self, accounts):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, accounts), daemon=True)
        self._process.start()
        self.port = self._pipe.recv()

    def seen(self):
        self._pipe.send("seen")
        return self._pipe.recv()

    def stop(self):
        self._pipe.send("stop")
        self._process.join(10)


def _serve(pipe, accounts):
    from tests.support.ibkr_gateway import GatewayThread

    book = make_book(accounts)
    with GatewayThread(book, one_way_seconds=ONE_WAY_SECONDS, fill_seconds=FILL_SECONDS) as gateway:
        pipe.send(gateway.port)
        while pipe.recv() == "seen":
            pipe.send(gateway.do(_read, book, gateway.gateway))


def _read(book, gateway):
    fills = [fill.at.timestamp() for order in book.orders for fill in order.fills]
    refs = [order.ref for order in book.orders]
    values = [book.values(account_id) for account_id in book.accounts]
    return Seen(
        last_fill_at=max(fills, default=0.0),
        orders=len(refs),
        filled=sum(order.status == "Filled" for order in book.orders),
        sent_twice=len(refs) - len(set(refs)),
        lowest_cash=float(min(account.lowest_cash for account in book.accounts.values())),
        cash_share=float(max(value["CashBalance"] / value["NetLiquidation"] for value in values)),
        went_short=len(book.went_short),
        peak_rate=gateway.peak_rate,
        clients=len({order.client_id for order in book.orders}),
    )
