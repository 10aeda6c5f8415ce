"""`python -m calculator`: JSON lines in and out, without Django and without the environment."""

import json
import subprocess
import sys
from pathlib import Path

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


def test_usage():
    done = subprocess.run([sys.executable, "-m", "calculator"], cwd=ROOT, capture_output=True, timeout=60)
    assert done.returncode == 2
