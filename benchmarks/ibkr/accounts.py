"""The accounts that both sides trade: five positions to sell, ten targets to buy."""

from decimal import Decimal

from tests.support.ibkr_gateway import AccountRecords

HELD = tuple(f"OLD{number}" for number in range(5))
TARGETS = tuple(f"NEW{number}" for number in range(10))
SHARES = 200
CASH = "1000"


def account_ids(number):
    return [f"DU2{index:06}" for index in range(number)]


def make_book(number):
    """Return gateway accounts that each hold about 100,000 USD in symbols that are not targets."""
    book = AccountRecords()
    for symbol in (*HELD, *TARGETS):
        book.add_instrument(symbol)
    for account_id in account_ids(number):
        book.add_account(account_id, cash=CASH, positions=dict.fromkeys(HELD, SHARES))
    return book


def bought_shares():
    """Return the shares of each target that a client with known prices would buy."""
    proceeds = Decimal(CASH) + len(HELD) * (SHARES * Decimal("99.99") - 1)
    return int(proceeds * Decimal("0.985") / len(TARGETS) / Decimal("100.01"))
