"""`python -m calculator`: JSON lines in and out, without Django and without the environment."""

import json
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from calculator import json_lines

ROOT = Path(__file__).parents[2]
REQUEST = {
    "id": "a1",
    "account": {
        "total_value": "10000",
        "cash": "8164.625",
        "positions": [{"symbol": "VTI", "quantity": "25", "market_price": "73.415"}],
    },
    "targets": [{"symbol": "VTI", "weight": "0.47"}, {"symbol": "BND", "weight": 0.53}],
    "quotes": [{"symbol": "VTI", "bid": "73.41", "ask": "73.42"}, {"symbol": "BND", "bid": "74.80", "ask": "74.82"}],
    "constraints": {
        "cash_reserve_percent": "2",
        "min_cash_usd": "0",
        "buy_slippage_percent": "1.0",
        "band_percent": "0.1",
        "commission": {"kind": "per_share", "per_share": "0.005", "min_per_order": "1.00", "max_rate": "0.01"},
        "one_share": True,
        "one_share_max_overshoot_percent": "5",
        "minimum_improvement_bps": "0",
    },
}


def ask(command, *lines):
    done = subprocess.run(
        [sys.executable, "-m", "calculator", command],
        input="".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PATH": ""},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@contextmanager
def asking(command):
    """A running process that answers one line at a time."""
    with subprocess.Popen(
        [sys.executable, "-m", "calculator", command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={"PATH": ""},
    ) as process:
        end = threading.Timer(60, process.kill)
        end.start()

        def ask_one(line):
            process.stdin.write((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield ask_one
        process.stdin.close()
        end.cancel()
        assert process.wait(60) == 0


def test_a_plan_and_its_buys():
    (answer,) = ask("plan", REQUEST)
    assert answer["id"] == "a1"
    trades = {trade["symbol"]: trade for trade in answer["trades"]}
    assert trades["VTI"]["quantity"] == 37
    assert trades["VTI"]["price"] == "74.16"
    assert trades["VTI"]["order_type"] == "LIMIT"
    assert {"cash", "l1_error", "weights"} <= set(answer["expected"])
    (fitted,) = ask("fit-buys", {"id": 7, "plan": answer["plan"], "cash": "8164.625"})
    assert fitted == {"id": 7, "buys": [{"symbol": t["symbol"], "quantity": t["quantity"]} for t in answer["trades"]]}


def test_one_bad_line_does_not_stop_the_rest():
    refused = REQUEST | {"id": "a2", "targets": [{"symbol": "VTI", "weight": "1.3"}]}
    odd = REQUEST | {"id": "a3", "surprise": 1}
    answers = ask(
        "plan",
        "not json",
        [1, 2],
        refused,
        odd,
        REQUEST | {"quotes": [None, {"symbol": "VTI", "bid": None, "ask": None}]},
        REQUEST,
    )
    codes = [answer.get("error", {}).get("code") for answer in answers]
    assert codes == ["invalid_input", "invalid_input", "weights_above_one", "invalid_input", "too_much_frozen", None]
    assert [answer["id"] for answer in answers] == [None, None, "a2", "a3", "a1", "a1"]


BAD = {
    "no text": b"\xff\xfe\x00",
    "cut short": b'{"id": 1',
    "too deep": b"[" * 100_000,
    "too long a number": b'{"id": ' + b"9" * 5000 + b"}",
    "too large": json.dumps(REQUEST | {"account": {"total_value": "1e999999", "cash": 1}}).encode(),
    "too fine": json.dumps(REQUEST | {"account": {"total_value": "1e-999999", "cash": 1}}).encode(),
}


def test_no_line_is_so_bad_that_the_next_goes_unanswered():
    """The pipes stay open: every line has its answer before the next is written."""
    with asking("plan") as ask_one:
        for name, bad in BAD.items():
            assert ask_one(bad)["error"]["code"] == "invalid_input", name
            assert "trades" in ask_one(REQUEST), name


def test_the_example_of_the_document_is_answered_as_the_document_says():
    page = (ROOT / "docs" / "calculator.md").read_text()
    request = json.loads(page.split("```json")[1].split("```")[0])
    answer = json.loads(json_lines.answer_plan(json.dumps(request)))
    assert {trade["symbol"]: trade["quantity"] for trade in answer["trades"]} == {"VTI": -81, "BND": 87}
    assert all(f"`{name}`" in page for name in answer)
    assert all(f"`{name}`" in page for row in (*answer["trades"], answer["expected"]) for name in row)


@pytest.mark.parametrize("field", ["price", "quote_usd", "mark_usd"])
def test_buys_of_no_price_are_refused(field):
    planned = json.loads(json_lines.answer_plan(json.dumps(REQUEST)))["plan"]
    planned["buys"][0][field] = "0"
    answer = json.loads(json_lines.answer_fit_buys(json.dumps({"plan": planned, "cash": "1"})))
    assert answer["error"]["code"] == "invalid_input"


def test_what_nobody_foresaw_is_an_answer_too(monkeypatch, capsys):
    def failing(*_):
        raise TypeError("nobody foresaw it")

    monkeypatch.setattr(json_lines, "_result", failing)
    assert json.loads(json_lines.answer_plan(json.dumps(REQUEST)))["error"]["code"] == "internal_error"
    assert "nobody foresaw it" in capsys.readouterr().err


def test_usage():
    done = subprocess.run([sys.executable, "-m", "calculator"], cwd=ROOT, capture_output=True, timeout=60)
    assert done.returncode == 2
