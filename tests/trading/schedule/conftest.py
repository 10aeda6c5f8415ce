"""Sessions of the New York exchange, and a clock that can be set."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
import time_machine


@pytest.fixture
def real_sessions(settings):
    """Sessions of the New York exchange."""
    settings.MARKET_CALENDAR = "XNYS"


@pytest.fixture
def clock(real_sessions):
    """Sets the clock to a New York time; the database keeps its own."""
    travels = []

    def set_to(text):
        if travels:
            travels.pop().stop()
        travel = time_machine.travel(
            datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("America/New_York")), tick=True
        )
        travel.start()
        travels.append(travel)

    yield set_to
    for travel in travels:
        travel.stop()


@pytest.fixture
def plain_account(db):
    """Makes an account without simulated account records, for tests that submit nothing."""
    from tests.support.makers import simulated_account

    def make(account_id="U1", targets=(("SPY", "0.6"), ("IEF", "0.4")), **fields):
        return simulated_account(account_id, targets, **fields)

    return make
