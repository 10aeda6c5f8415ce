"""The client of the allocations service against a real HTTP server."""

import asyncio
import json
from decimal import Decimal

import pytest

from trading.errors import RunFailed
from trading.planning.allocations import MAX_BODY_BYTES, AllocationsClient, check_address


def fetch(url, strategy="blend", seconds=3):
    return asyncio.run(AllocationsClient(url, "the-key", seconds, retry_wait_seconds=0.01).fetch(strategy)).items


def refusal(url, **options):
    with pytest.raises(RunFailed) as caught:
        fetch(url, **options)
    return caught.value.code


def test_fetch_returns_exact_weights_and_sends_the_key(allocations):
    allocations.answer(
        "blend",
        200,
        '{"data": {"allocations": [{"ticker": "spy", "allocation": 0.1}, {"symbol": "IEF", "allocation": 0.7}]}}',
    )
    items = fetch(allocations.url)
    assert [(item.symbol, item.weight) for item in items] == [("SPY", Decimal("0.1")), ("IEF", Decimal("0.7"))]
    assert allocations.requests == [("/blend/allocations", "the-key")]


def test_fetch_after_a_server_error_is_retried(allocations):
    good = json.dumps({"data": {"allocations": [{"ticker": "SPY", "allocation": 1}]}}).encode()
    answers = iter([(503, b""), (500, b""), (200, good)])
    allocations.answers["blend"] = (200, lambda: next(answers), {})
    assert len(fetch(allocations.url)) == 1
    assert len(allocations.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_fetch_refused_by_the_service_is_not_retried(allocations, status):
    allocations.answer("blend", status, "{}")
    assert refusal(allocations.url) == "allocations_http_error"
    assert len(allocations.requests) == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("<html>", "allocations_not_json"),
        ("[]", "allocations_wrong_shape"),
        ("{}", "allocations_wrong_shape"),
        ('{"data": {"allocations": [{"ticker": "SPY"}]}}', "allocations_wrong_shape"),
        ('{"data": {"allocations": [{"ticker": "SPY", "allocation": "a lot"}]}}', "allocations_wrong_shape"),
        ('{"data": {"allocations": [{"ticker": "SPY", "allocation": NaN}]}}', "allocations_wrong_shape"),
        ('{"data": {"allocations": [{"ticker": "SPY", "allocation": Infinity}]}}', "allocations_wrong_shape"),
        ('{"data": {"allocations": [{"ticker": "S P Y", "allocation": 1}]}}', "allocations_wrong_shape"),
        ('{"data": {"allocations": [{"ticker": "../SPY", "allocation": 1}]}}', "allocations_wrong_shape"),
        ('{"data": {"allocations": []}}', "allocations_empty"),
        ('{"data": {"allocations": [{"ticker": "SPY", "allocation": 0}]}}', "allocations_empty"),
        ('{"data": {"allocations": [{"ticker": "SPY", "allocation": -0.1}]}}', "allocations_negative"),
        ('{"data": {"allocations": [{"ticker": "SPY", "allocation": 1.3}]}}', "allocations_above_one"),
        (
            '{"data": {"allocations": [{"ticker": "SPY", "allocation": 0.5}, {"symbol": "spy", "allocation": 0.5}]}}',
            "allocations_duplicate",
        ),
        (
            '{"data": {"strategy": "other", "allocations": [{"ticker": "SPY", "allocation": 1}]}}',
            "allocations_wrong_strategy",
        ),
        (
            '{"status": "error", "data": {"allocations": [{"ticker": "SPY", "allocation": 1}]}}',
            "allocations_http_error",
        ),
    ],
)
def test_fetch_of_an_invalid_response_is_refused_entirely(allocations, body, code):
    allocations.answer("blend", 200, body)
    assert refusal(allocations.url) == code


def test_fetch_does_not_follow_a_redirect(allocations):
    allocations.answer("blend", 302, "", {"Location": f"{allocations.url}/other/allocations"})
    assert refusal(allocations.url) == "allocations_redirected"
    assert len(allocations.requests) == 1


def test_fetch_of_a_too_large_response_is_aborted(allocations):
    allocations.answer("blend", 200, b"x" * (MAX_BODY_BYTES * 3))
    assert refusal(allocations.url) == "allocations_too_large"


def test_fetch_without_a_response_ends_at_its_timeout(allocations):
    allocations.hang("blend")
    assert refusal(allocations.url, seconds=0.6) == "allocations_timeout"


def test_fetch_without_a_server_reports_it_unreachable(allocations):
    assert refusal("http://127.0.0.1:9") == "allocations_unreachable"


@pytest.mark.parametrize(
    "address", ["https://example.com/v1", "http://127.0.0.1:8000", "http://localhost", "http://[::1]:80"]
)
def test_check_address_accepts_https_and_loopback(address):
    check_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "example.com",
        "http://example.com",
        "http://192.168.1.1",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "http://127.0.0.1.example.com",
    ],
)
def test_check_address_refuses_addresses_that_may_not_get_the_key(address):
    with pytest.raises(RunFailed) as caught:
        check_address(address)
    assert caught.value.code == "allocations_not_configured"


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("content", [b"not compressed", b"\x1f\x8b\x08", b'{"data": {}}'])
def test_fetch_of_a_response_that_is_not_compressed_as_it_says_is_refused(allocations, encoding, content):
    allocations.answer("blend", 200, content, {"Content-Encoding": encoding})
    assert refusal(allocations.url) in {"allocations_not_json", "allocations_wrong_shape"}
    assert len(allocations.requests) == 1


@pytest.mark.parametrize("key", ["ключ", "two\nlines", "\ud800"])
def test_fetch_with_a_key_that_no_header_can_have_is_refused(allocations, key):
    with pytest.raises(RunFailed) as caught:
        asyncio.run(AllocationsClient(allocations.url, key, 3, retry_wait_seconds=0.01).fetch("blend"))
    assert caught.value.code == "allocations_not_configured"


@pytest.mark.parametrize(
    "address",
    ["https://[", "https://[::1", "https://example.com:99999", "https://a b.example", "https://\u2488.example"],
)
def test_fetch_from_an_address_that_is_no_url_is_refused(address):
    assert refusal(address) in {"allocations_not_configured", "allocations_unreachable"}
