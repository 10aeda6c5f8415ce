"""The keys of an event: which account it concerns, and which keys decide nothing."""

import json

import pytest

from tests.support.makers import policy, simulated_account, strategy
from trading.inbox.receive import receive_event
from trading.models import EventSource, RebalanceRun

pytestmark = pytest.mark.django_db

REBALANCE = {"exec": "rebalance"}
MAX_REASON = 400
"""Maximum length of a reason that repeats a part of a message, in characters."""


@pytest.fixture
def accounts(db):
    blend, default = strategy("blend", {"SPY": "1"}), policy()
    return [simulated_account(name, {"SPY": "1"}, strategy=blend, policy=default) for name in ("U1", "U2", "1001")]


def receive(payload, source=EventSource.ABLY):
    return receive_event(source=source, channel="blend", message_id="m-1", payload=payload)


def accounts_of(event):
    return {run.account.account_id for run in event.runs.all()}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"account_id": "U1"}, "U1"),
        ({"accountId": "U1"}, "U1"),
        ({"account_id": "U1", "accountId": "U1"}, "U1"),
        ({"account_id": None, "accountId": "U1"}, "U1"),
        ({"account_id": 1001}, "1001"),
        ({"accountId": 1001}, "1001"),
        ({"account_id": 1001, "accountId": "1001"}, "1001"),
    ],
)
@pytest.mark.parametrize("encode", [dict, json.dumps], ids=["object", "text"])
def test_receive_with_account_key_queues_only_that_account(accounts, keys, expected, encode):
    event = receive(encode(REBALANCE | keys))
    assert (event.state, event.account_id, accounts_of(event)) == ("accepted", expected, {expected})


@pytest.mark.parametrize("keys", [{}, {"account_id": None}, {"accountId": None}])
def test_receive_without_an_account_queues_every_account_of_the_strategy(accounts, keys):
    assert accounts_of(receive(REBALANCE | keys)) == {"U1", "U2", "1001"}


@pytest.mark.parametrize(
    "key",
    [
        "account",
        "accounts",
        "accountIds",
        "account_ids",
        "accountID",
        "AccountId",
        "ACCOUNT_ID",
        "account-id",
        "account id",
        " account_id",
        "_account_id",
        "-account",
        "accountNumber",
        "account.id",
        "Accounts",
        "\uff41ccount_id",
        "acctId",
        "acct",
    ],
)
@pytest.mark.parametrize("value", ["U1", ["U1"], None, {"id": "U1"}])
def test_receive_with_a_key_that_reads_like_an_account_is_rejected_by_name(accounts, key, value):
    event = receive(REBALANCE | {key: value})
    assert (event.state, event.reason_code) == ("rejected", "payload_invalid")
    assert repr(key) in event.reason
    assert not RebalanceRun.objects.exists()


@pytest.mark.parametrize("key", ["account_id", "accountId"])
@pytest.mark.parametrize("value", [True, False, ["U1"], [], {"id": "U1"}, {}, 1001.5, "", " ", 10**70, "x" * 900_000])
def test_receive_with_an_account_that_is_no_id_is_rejected_by_name(accounts, key, value):
    event = receive(REBALANCE | {key: value})
    assert (event.state, event.reason_code) == ("rejected", "payload_invalid")
    assert "account_id" in event.reason and len(event.reason) < MAX_REASON
    assert not RebalanceRun.objects.exists()


@pytest.mark.parametrize(
    "payload",
    [
        REBALANCE | {"account_id": "U1", "accountId": "U2"},
        '{"exec": "rebalance", "account_id": "U1", "account_id": "U2"}',
        '{"exec": "rebalance", "accountId": "U1", "accountId": "U2"}',
        '{"exec": "print-rebalance", "exec": "rebalance"}',
        REBALANCE | {"account" + "s" * 900_000: "U1"},
    ],
)
def test_receive_of_a_message_that_says_two_things_is_rejected(accounts, payload):
    event = receive(payload)
    assert (event.state, event.reason_code) == ("rejected", "payload_invalid")
    assert len(event.reason) < MAX_REASON
    assert not RebalanceRun.objects.exists()


@pytest.mark.parametrize("key", ["created_at", "times_queued", "event_id", "eventId", "data", "unheard", "strategy"])
@pytest.mark.parametrize(
    "value", ["", "yesterday", "0001-01-01T00:00:00Z", -1, 2**70, 1.5, True, None, [1], {"account": "U2"}, "\ud800\x00"]
)
def test_receive_keeps_metadata_and_does_not_judge_it(accounts, key, value):
    payload = REBALANCE | {"account_id": "U1", key: value}
    event = receive(payload)
    assert (event.state, accounts_of(event)) == ("accepted", {"U1"})
    assert json.loads(event.payload) == payload


@pytest.mark.parametrize(
    ("value", "stored"),
    [("e-1", "e-1"), (7, "7"), (1.5, "1.5"), (True, "true"), ([1], "[1]"), (None, ""), ("x" * 900, "x" * 160)],
)
def test_receive_stores_the_event_id_as_text(accounts, value, stored):
    assert receive(REBALANCE | {"eventId": value}).event_id == stored
