"""Times of the broker: each form is one instant, and what cannot be read is refused."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from brokers.broker_types import OrderStatus, OrderType
from brokers.exceptions import ExecutionTimesUnusable
from brokers.ibkr.client import InteractiveBrokers
from brokers.ibkr.settings import GatewaySettings
from brokers.ibkr.times import CLOCK_TOLERANCE, ZONES, parse_execution_time, parse_time
from tests.brokers.ibkr.conftest import ACCOUNT, connection_settings

SINCE = timedelta(hours=1)


@pytest.mark.parametrize(
    ("text", "zone", "utc"),
    [
        ("20261130-20:20:14", "", "20:20:14"),
        ("20261130-20:20:14", "Asia/Tokyo", "20:20:14"),
        ("20261130 15:20:14 US/Eastern", "", "20:20:14"),
        ("20261130 15:20:14 America/New_York", "", "20:20:14"),
        ("20261130 15:20:14 EST5EDT", "", "20:20:14"),
        ("20261130 15:20:14 EST", "", "20:20:14"),
        ("20261130 15:20:14 EST (Eastern Standard Time)", "", "20:20:14"),
        ("20261130 14:20:14 CST", "", "20:20:14"),
        ("20261130 21:20:14 MET", "", "20:20:14"),
        ("20261130 20:20:14 Universal", "America/New_York", "20:20:14"),
        ("20261130 20:20:14 UTC", "", "20:20:14"),
        ("20261130 20:20:14 GMT", "", "20:20:14"),
        ("20261130 15:20:14", "America/New_York", "20:20:14"),
        ("20261130  12:20:14", "America/Los_Angeles", "20:20:14"),
    ],
)
def test_parse_time_each_form_is_the_same_instant(text, zone, utc):
    assert parse_time(text, zone) == datetime.fromisoformat(f"2026-11-30T{utc}+00:00")


@pytest.mark.parametrize("zone", ["EST", "EDT", "EST5EDT", "US/Eastern"])
def test_parse_time_in_summer_has_daylight_saving_time(zone):
    assert parse_time(f"20260715 10:00:00 {zone}") == datetime(2026, 7, 15, 14, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "20261130 20:20:14",
        "20261130  20:20:14",
        "20261130 20:20:14 China Standard Time",
        "20261130 20:20:14 ../etc/passwd",
        "20261130-20:20",
        "20261131-20:20:14",
        "2026-11-30 20:20:14",
        "15:31",
        "",
        "\uff19" * 8 + "-20:20:14",
    ],
)
def test_parse_time_unknown_form_or_no_zone_is_refused(text):
    with pytest.raises(ValueError, match=r"time|day"):
        parse_time(text)


@given(st.datetimes(timezones=st.just(UTC)), st.sampled_from(sorted(set(ZONES.values()))))
def test_parse_time_reverses_the_form_with_a_zone(at, zone):
    instant = at.replace(year=2000 + at.year % 100, day=min(at.day, 28), microsecond=0)
    local = instant.astimezone(ZoneInfo(zone))
    if not local.fold:  # the text does not tell the two hours at the end of daylight saving time apart
        assert parse_time(f"{local:%Y%m%d %H:%M:%S} {zone}") == instant
    assert parse_time(f"{instant:%Y%m%d-%H:%M:%S}", zone) == instant


def test_parse_execution_time_in_the_future_is_refused():
    now = datetime(2026, 11, 30, 20, 20, 14, tzinfo=UTC)
    assert parse_execution_time("20261130-20:21:00", now) == now, "clocks differ a little"
    with pytest.raises(ValueError, match=r"5\.0 hours ahead"):
        parse_execution_time("20261130 20:20:14 US/Eastern", now)
    with pytest.raises(ValueError, match="ahead"):
        parse_execution_time(f"{now + CLOCK_TOLERANCE + timedelta(seconds=1):%Y%m%d-%H:%M:%S}", now)


def test_settings_unknown_time_zone_is_refused():
    with pytest.raises(ValidationError):
        GatewaySettings(time_zone="Mars/Olympus")


# ---- at the gateway


def utc(at):
    return f"{at:%Y%m%d-%H:%M:%S}"


def no_zone(zone):
    return lambda at: f"{at.astimezone(ZoneInfo(zone)):%Y%m%d %H:%M:%S}"


def named(name, zone):
    return lambda at: f"{at.astimezone(ZoneInfo(zone)):%Y%m%d %H:%M:%S} {name}"


def connector(gateway, zone=""):
    connection = connection_settings(gateway, request_timeout_seconds=5)
    settings = GatewaySettings(port=gateway.port, time_zone=zone)
    return InteractiveBrokers(connection.model_copy(update={"connector": settings}))


async def buy(client):
    await client.place_order(ACCOUNT, "SPY", Decimal(1), OrderType.MARKET, None, client_order_id="b-1")
    async with asyncio.timeout(5):
        while (await client.find_order(ACCOUNT, "b-1")).status is not OrderStatus.FILLED:
            pass


def executions_of_next_connection(gateway, zone="", requests=1):
    """Buy over one connection, and read the executions over another one."""

    async def run():
        first = connector(gateway, zone)
        await first.connect()
        await buy(first)
        pushed = await first.get_executions(ACCOUNT, since=datetime.now(UTC) - SINCE)
        await first.disconnect()
        second = connector(gateway, zone)
        await second.connect()
        try:
            for _ in range(requests - 1):
                with pytest.raises(ExecutionTimesUnusable):
                    await second.get_executions(ACCOUNT, since=datetime.now(UTC) - SINCE)
            return pushed, await second.get_executions(ACCOUNT, since=datetime.now(UTC) - SINCE)
        finally:
            await second.disconnect()

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("form", "zone"),
    [
        (utc, ""),
        (utc, "America/New_York"),
        (named("EST5EDT", "America/New_York"), ""),
        (named("EST", "America/New_York"), ""),
        (named("MET", "Europe/Paris"), ""),
        (no_zone("America/Chicago"), "America/Chicago"),
    ],
)
def test_executions_in_each_form_have_the_time_of_the_fill(gateway, form, zone):
    gateway.records.time_form = form
    pushed, requested = executions_of_next_connection(gateway, zone)
    (fill,) = gateway.records.orders[0].fills
    assert [one.executed_at for one in (*pushed, *requested)] == [fill.at.replace(microsecond=0)] * 2


@pytest.mark.parametrize(
    ("form", "zone"),
    [
        (no_zone("America/New_York"), ""),
        (no_zone("UTC"), "America/New_York"),  # hours ahead: the setting is wrong
        (named("US/Eastern", "UTC"), ""),
        (named("Mars/Olympus", "UTC"), ""),
    ],
)
def test_executions_without_a_usable_time_are_refused_at_each_request_and_pushed_ones_are_of_now(gateway, form, zone):
    gateway.records.time_form = form
    with pytest.raises(ExecutionTimesUnusable) as caught:
        executions_of_next_connection(gateway, zone, requests=2)
    assert (caught.value.code, "SPY" in caught.value.message) == ("execution_times_unusable", True)


def test_execution_pushed_without_a_usable_time_keeps_the_time_of_its_arrival(gateway):
    gateway.records.time_form = no_zone("UTC")

    async def trade():
        client = connector(gateway)
        await client.connect()
        started = datetime.now(UTC).replace(microsecond=0)
        await buy(client)
        found = await client.get_executions(ACCOUNT, since=started - SINCE)
        await client.disconnect()
        return started, found

    started, (execution,) = asyncio.run(trade())
    assert started <= execution.executed_at <= datetime.now(UTC)
