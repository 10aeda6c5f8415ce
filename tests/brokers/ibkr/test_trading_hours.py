"""Parsing of trading hours in both formats, and rejection of unknown formats."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest
from ib_async import ContractDetails

from brokers.broker_types import ContractFacts
from brokers.ibkr.trading_hours import liquid_hours

EASTERN, CENTRAL = ZoneInfo("America/New_York"), ZoneInfo("America/Chicago")


def at(day, clock, zone=EASTERN):
    return datetime.strptime(f"{day} {clock}", "%Y%m%d %H%M").replace(tzinfo=zone)


def span(day, start, end, zone=EASTERN, until=""):
    return at(day, start, zone), at(until or day, end, zone)


def liquid(text, zone="US/Eastern"):
    details = ContractDetails(timeZoneId=zone, liquidHours=text)
    return {one.day.strftime("%Y%m%d"): list(one.hours) for one in liquid_hours(details)}


@pytest.mark.parametrize(
    ("text", "zone", "days"),
    [
        ("", "US/Eastern", {}),
        ("20261125:0930-20261125:1600", "US/Eastern", {"20261125": [span("20261125", "0930", "1600")]}),
        ("20261125:0930-1600", "US/Eastern", {"20261125": [span("20261125", "0930", "1600")]}),
        (
            "20261125:0930-20261125:1600;20261126:CLOSED;20261127:0930-20261127:1300",
            "US/Eastern",
            {
                "20261125": [span("20261125", "0930", "1600")],
                "20261126": [],
                "20261127": [span("20261127", "0930", "1300")],
            },
        ),
        (
            "20261125:0930-1200,1300-1600;20261126:CLOSED;",
            "EST (Eastern Standard Time)",
            {"20261125": [span("20261125", "0930", "1200"), span("20261125", "1300", "1600")], "20261126": []},
        ),
        (
            "20261125:1700-20261126:1600",
            "US/Central",
            {"20261125": [span("20261125", "1700", "1600", CENTRAL, until="20261126")]},
        ),
        ("20261125:1700-1600", "US/Central", {"20261125": [span("20261125", "1700", "1600", CENTRAL, "20261126")]}),
        ("20260701:0930-20260701:1600", "EST", {"20260701": [span("20260701", "0930", "1600")]}),
        (
            "20261125:0400-20261125:0930,20261125:1600-20261125:2000",
            "America/New_York",
            {"20261125": [span("20261125", "0400", "0930"), span("20261125", "1600", "2000")]},
        ),
    ],
)
def test_trading_hours_in_either_format_are_parsed(text, zone, days):
    assert liquid(text, zone) == days


@pytest.mark.parametrize(
    ("text", "zone", "error"),
    [
        ("20261125:0930", "US/Eastern", "pattern"),
        ("20261125:OPEN", "US/Eastern", "pattern"),
        ("20261125:0930-20261125:2560", "US/Eastern", "pattern"),
        ("20261325:0930-20261325:1600", "US/Eastern", "month"),
        ("20261125:1600-20261125:0930", "US/Eastern", "end before they start"),
        ("20261125:0930-1600", "Mars/Olympus", "unknown time zone"),
    ],
)
def test_trading_hours_in_unknown_format_are_rejected(text, zone, error):
    with pytest.raises(ValueError, match=error):
        liquid(text, zone)


@pytest.mark.parametrize(
    ("day", "clock", "closed"),
    [
        ("20261125", "1200", False),
        ("20261125", "1600", True),
        ("20261126", "1200", True),
        ("20261127", "1230", False),
        ("20261127", "1330", True),
        ("20261130", "1200", False),
    ],
    ids=["in its hours", "after them", "on a closed day", "on a short day", "after its early close", "not reported"],
)
def test_contract_is_closed_only_outside_its_reported_hours(day, clock, closed):
    text = "20261125:0930-20261125:1600;20261126:CLOSED;20261127:0930-20261127:1300"
    hours = liquid_hours(ContractDetails(timeZoneId="US/Eastern", liquidHours=text))
    facts = ContractFacts(symbol="SPY", contract_id="1", liquid_hours=hours)
    assert facts.is_closed_at(at(day, clock)) is closed
    assert ContractFacts.model_validate_json(facts.model_dump_json()) == facts
    assert facts.liquid_hours[0].day == date(2026, 11, 25)
