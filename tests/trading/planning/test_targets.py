"""Published targets: every response is either targets that can be traded, or one refusal by code."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calculator import AllocationItem
from trading.errors import RunFailed
from trading.planning.targets import check_targets, parse_allocations

MAX_MESSAGE = 400
"""Maximum length of a refusal, in characters, whatever it repeats."""
HUGE = "X" * 900_000


def body(*rows, **data):
    text = ", ".join(f'{{"ticker": {json.dumps(name)}, "allocation": {weight}}}' for name, weight in rows)
    extra = "".join(f', "{key}": {json.dumps(value)}' for key, value in data.items())
    return f'{{"data": {{"allocations": [{text}]{extra}}}}}'.encode()


def refusal(content, **options):
    with pytest.raises(RunFailed) as caught:
        parse_allocations(content, "blend", **options)
    assert len(caught.value.message) < MAX_MESSAGE
    assert caught.value.message.encode() and caught.value.message.endswith(".")
    return caught.value


@pytest.mark.parametrize(
    ("content", "code", "named"),
    [
        (b"[" * 100_000, "allocations_not_json", ""),
        (b'{"data": ' * 100_000, "allocations_not_json", ""),
        (b"\x1f\x8b\x08\x00 gzip that is none", "allocations_not_json", ""),
        (b"\xff\xfe\x00", "allocations_not_json", ""),
        (b"", "allocations_not_json", ""),
        (body(("SPY", "1e-500")), "allocations_wrong_shape", "SPY"),
        (body(("SPY", "1e500")), "allocations_wrong_shape", "SPY"),
        (body(("SPY", "1e-99999999999999999999")), "allocations_wrong_shape", "SPY"),
        (body(("SPY", "1e99999999999999999999")), "allocations_wrong_shape", "SPY"),
        (body(("SPY", "1" * 500_000)), "allocations_wrong_shape", "SPY"),
        (body(("SPY", '"1e-500"')), "allocations_wrong_shape", "SPY"),
        (body(("SPY", "NaN")), "allocations_wrong_shape", "SPY"),
        (body(("SPY", "-Infinity")), "allocations_wrong_shape", "SPY"),
        (body(("SPY", "true")), "allocations_wrong_shape", "SPY"),
        (body(("SPY", "null")), "allocations_wrong_shape", "SPY"),
        (body(("SPY", "[1]")), "allocations_wrong_shape", "SPY"),
        (body(("SPY", '"5%"')), "allocations_wrong_shape", "SPY"),
        (body(*((f"S{n}".replace("0", "A"), "0.001") for n in range(299)), ("BAD", "NaN")), "allocations_wrong_shape", "BAD"),
        (body(("\ud800", "1")), "allocations_wrong_shape", "\\ud800"),
        (body(("S\ud800Y", "1")), "allocations_wrong_shape", "\\ud800"),
        (body(("SPY\x00", "1")), "allocations_wrong_shape", "\\x00"),
        (body(("\u017fPY", "1")), "allocations_wrong_shape", ""),
        (body(("", "1")), "allocations_wrong_shape", ""),
        (body((HUGE, "1")), "allocations_wrong_shape", "XXX"),
        (body((HUGE, "NaN")), "allocations_wrong_shape", "XXX"),
        (body((HUGE, "-1")), "allocations_negative", "XXX"),
        (body(("SPY", "-1e-300")), "allocations_negative", "SPY"),
        (body(("SPY", "1"), strategy=HUGE), "allocations_wrong_strategy", "XXX"),
        (body(("SPY", "1"), strategy="\ud800"), "allocations_wrong_strategy", "\\ud800"),
        (b'{"status": "%s", "data": {"allocations": []}}' % HUGE.encode(), "allocations_http_error", "XXX"),
        (body(*((name, "0.001") for name in (f"S{n}" for n in range(400)) for _ in range(2))), "allocations_duplicate", "S0"),
        (b'{"data": {"allocations": [{"ticker": "SPY", "allocation": 0.1, "allocation": 1}]}}', "allocations_wrong_shape", ""),
        (b'{"data": {"allocations": [], "allocations": [{"ticker": "SPY", "allocation": 1}]}}', "allocations_wrong_shape", ""),
        (b'{"data": {"allocations": [{"ticker": "SPY", "symbol": "IEF", "allocation": 1}]}}', "allocations_wrong_shape", ""),
        (b'{"data": {"allocations": [["SPY", 1]]}}', "allocations_wrong_shape", "allocation 1"),
        (b'{"data": {"allocations": {"SPY": 1}}}', "allocations_wrong_shape", "data.allocations"),
    ],
)  # fmt: skip
def test_parse_allocations_of_a_bad_response_is_one_bounded_refusal(content, code, named):
    failure = refusal(content)
    assert failure.code == code
    assert named in failure.message


@pytest.mark.parametrize(
    "name", ["CASH", "USD", "cash", " usd ", "EUR", "$CASH", "$USD", "$SPY", "CASH.USD", "USD-CASH", "^CASH", "$"]
)
def test_parse_allocations_with_a_name_of_cash_is_refused_with_both_readings(name):
    failure = refusal(body((name, "0.1"), ("SPY", "0.9")))
    assert failure.code == "allocations_cash_name"
    assert "cash" in failure.message and "stock" in failure.message


def test_check_targets_accepts_a_name_of_cash_that_the_strategy_means_as_a_stock():
    content = body(("CASH", "0.1"), ("usd", "0.2"), ("CASHX", "0.1"), ("SPY", "0.6"))
    items = parse_allocations(content, "blend", {"CASH", "USD"}).items
    assert [item.symbol for item in items] == ["CASH", "USD", "CASHX", "SPY"]
    assert refusal(content, stocks={"CASH"}).code == "allocations_cash_name"


@pytest.mark.parametrize(
    ("weights", "total", "codes"),
    [
        (["0.5", "0.5"], "1", []),
        (["0.3", "0.4"], "0.7", []),
        (["0.5", "0.5000001"], "1", []),
        (["0.5", "0.50001"], "1", ["targets_scaled"]),
        (["0.5", "0.5001"], "1", ["targets_scaled"]),
        (["0.5", "0.5005"], "1", ["targets_scaled"]),
    ],
)
def test_check_targets_scales_a_sum_above_one_by_rounding_and_says_so(weights, total, codes):
    targets = check_targets([(f"S{n}", Decimal(weight)) for n, weight in enumerate(weights, start=1)])
    found = sum(item.weight for item in targets.items)
    assert Decimal(total) - Decimal("1e-11") <= found <= 1
    assert [warning.code for warning in targets.warnings] == codes


@pytest.mark.parametrize(
    ("weights", "percent"),
    [(["0.5", "0.50051"], False), (["1", "1"], False), (["60", "40"], True), (["60", "39.5"], True), (["900"], False)],
)
def test_check_targets_refuses_a_larger_sum_and_recognizes_percent(weights, percent):
    failure = refusal(body(*((f"S{n}", weight) for n, weight in enumerate(weights, start=1))))
    assert failure.code == "allocations_above_one"
    assert ("percent" in failure.message) == percent


MOMENT = datetime(2026, 11, 24, 10, tzinfo=UTC)


@pytest.mark.parametrize("key", ["as_of", "updated_at"])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-11-24T10:00:00Z", MOMENT),
        ("2026-11-24T05:00:00-05:00", MOMENT),
        ("2026-11-24T10:00:00", MOMENT),
        ("2026-11-24 10:00:00", MOMENT),
        ("2026-11-24T10:00:00.000000000Z", MOMENT),
        ("Tue, 24 Nov 2026 10:00:00 GMT", MOMENT),
        ("24 Nov 2026 05:00:00 -0500", MOMENT),
        (1795514400, MOMENT),
        (1795514400000, MOMENT),
        ("1795514400", MOMENT),
        ("2026-11-24", datetime(2026, 11, 24, 23, 59, 59, 999999, UTC)),
        ("20261124", datetime(2026, 11, 24, 23, 59, 59, 999999, UTC)),
    ],
)
def test_parse_allocations_reads_the_time_of_the_targets(key, value, expected):
    targets = parse_allocations(body(("SPY", "1"), **{key: value}), "blend")
    assert (targets.as_of, targets.warnings) == (expected, ())


@pytest.mark.parametrize("key", ["as_of", "updated_at"])
@pytest.mark.parametrize(
    ("value", "codes"),
    [
        (None, []),
        ("0001-01-01T00:00:00Z", []),
        ("0001-01-01", []),
        ("0001-01-01T00:00:00.000+00:00", []),
        *(
            (value, ["targets_time_unreadable"])
            for value in (
                "", "yesterday", "24/11/2026", "2026-02-30", "2026-11-24T25:00:00", "9999-12-31T23:59:59.999999-01:00",
                "1970-01-01T00:00:00Z", "1899-12-30", 0, -1, 1e300, 10**40, True, [], {"at": 1}, "\ud800", HUGE,
                "Foo, 99 Bar 2026 10:00:00 GMT", "24 Nov 2026 10:00:00 +9999",
            )
        ),
    ],
)  # fmt: skip
def test_parse_allocations_without_a_readable_time_tells_none(key, value, codes):
    targets = parse_allocations(body(("SPY", "1"), **{key: value}), "blend")
    assert (targets.as_of, [warning.code for warning in targets.warnings]) == (None, codes)
    assert all(len(warning.message.encode()) < MAX_MESSAGE for warning in targets.warnings)


def test_parse_allocations_takes_the_readable_one_of_two_times():
    content = body(("SPY", "1"), as_of="yesterday", updated_at="2026-11-24T10:00:00Z")
    assert parse_allocations(content, "blend") == ((AllocationItem(symbol="SPY", weight=Decimal(1)),), MOMENT, ())


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()))
    | st.sampled_from(["SPY", "CASH", "0001-01-01T00:00:00Z", 0.5, 1, "success"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["data", "allocations", "ticker", "symbol", "allocation", "as_of", "strategy", "status"]),
            inner,
            max_size=5,
        )
    ),
)
ROWS = st.lists(st.fixed_dictionaries({"ticker": JSON, "allocation": JSON}) | JSON, max_size=4)
RESPONSES = st.fixed_dictionaries(
    {"data": st.fixed_dictionaries({"allocations": ROWS}, optional={"as_of": JSON, "updated_at": JSON})}
)
GOOD = body(("SPY", "0.5"), ("IEF", "0.25"), as_of="2026-11-24")


def outcome(content):
    """Parse as a run does; anything but targets or a refusal fails the test."""
    try:
        targets = parse_allocations(content, "blend")
    except RunFailed as failure:
        assert failure.code.startswith("allocations_")
        assert len(failure.message.encode()) < 2 * MAX_MESSAGE
    else:
        assert 0 < sum(item.weight for item in targets.items) <= 1
        assert all(item.weight >= 0 for item in targets.items)
        assert targets.as_of is None or targets.as_of.tzinfo


@settings(max_examples=200, deadline=None)
@given(RESPONSES | JSON)
def test_parse_allocations_of_any_json_is_targets_or_a_refusal(content):
    outcome(json.dumps(content).encode())


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=6), st.integers(0, len(GOOD)), st.integers(0, 8))
def test_parse_allocations_of_any_bytes_is_targets_or_a_refusal(inserted, at, removed):
    outcome(GOOD[:at] + inserted + GOOD[at + removed :])
