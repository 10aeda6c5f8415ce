"""A gateway on loopback, with books of one account."""

import pytest

from tests.support.ibkr_gateway import Book, GatewayThread

ACCOUNT = "DU1000001"


@pytest.fixture
def book():
    """100,000 USD and 10 SPY, and a few instruments to trade."""
    book = Book()
    for symbol in ("SPY", "IEF", "GLD"):
        book.add_instrument(symbol)
    book.add_account(ACCOUNT, cash="100000", positions={"SPY": "10"})
    return book


@pytest.fixture
def gateway(book):
    """The gateway of these books, at once in everything."""
    with GatewayThread(book) as gateway:
        yield gateway
