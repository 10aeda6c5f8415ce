"""`python -m benchmarks.ibkr`: from the event to the last fill, beside a client that does nothing but send."""

import argparse
import statistics
import tempfile
from pathlib import Path

from django.conf import settings

from benchmarks.ibkr import bare, ours, phases
from benchmarks.ibkr.books import HELD, TARGETS, account_ids
from benchmarks.ibkr.gateway_process import FILL_SECONDS, ONE_WAY_SECONDS, GatewayProcess

PAGE = Path(__file__).resolve().parents[2] / "docs" / "execution_time.md"
BEGIN, END = "<!-- measured {} -->", "<!-- end -->"
PICTURE = "execution_time_{}.svg"
MOST_ACCOUNTS = 20


def with_gateway(accounts, side):
    """One side against books of its own; returns its seconds to the last fill and what the books say."""
    gateway = GatewayProcess(accounts)
    try:
        began, extra = side(gateway.port)
        seen = gateway.seen()
    finally:
        gateway.stop()
    expected = accounts * (len(HELD) + len(TARGETS))
    assert (seen.orders, seen.filled, seen.sent_twice, seen.went_short) == (expected, expected, 0, 0), seen
    return began, seen, extra


def our_side(workers, accounts):
    ids = account_ids(accounts)
    ours.make_accounts(ids)

    def side(port):
        ours.act(workers, ids, port, "print-rebalance")  # an account is looked at each day, its holdings are no news
        began, event, slots = ours.act(workers, ids, port)
        runs = list(event.runs.values_list("state", "error_message", "residual_drift"))
        assert {state for state, _, _ in runs} == {"completed"}, runs
        return began, (event, slots, max(drift for _, _, drift in runs))

    began, seen, (event, slots, drift) = with_gateway(accounts, side)
    return phases.moments(event, began, seen.last_fill_at), seen, slots, drift


def bare_side(accounts, connections):
    began, seen, _ = with_gateway(accounts, lambda port: (bare.send(port, accounts, connections), None))
    return seen.last_fill_at - began


def rows(workers, rounds, moments):
    # Contracts are looked up once a day, and what an account has never traded is asked about beforehand.
    our_side(workers, MOST_ACCOUNTS)
    for accounts in (1, 5, MOST_ACCOUNTS):
        measured = []
        for _ in range(rounds):
            ours_at, seen, slots, drift = our_side(workers, accounts)
            moments.setdefault(accounts, []).append(ours_at)
            measured.append((ours_at["filled"], bare_side(accounts, 1), bare_side(accounts, slots)))
            assert seen.lowest_cash >= 0, seen
        medians = [statistics.median(column) for column in zip(*measured, strict=True)]
        yield accounts, slots, *medians, seen, drift


def table(measured, command):
    lines = [
        (
            f"`{command}`, line {ONE_WAY_SECONDS * 1000:.0f} ms one way, {FILL_SECONDS * 1000:.0f} ms to fill, "
            f"{len(HELD)} sells and {len(TARGETS)} buys an account, medians:"
        ),
        "",
        (
            "| Accounts | Connections | Event to last fill | Bare client | Ratio | As many bare clients | Ratio | Most "
            "messages a second | Lowest cash | Cash at the end | Residual drift |"
        ),
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for accounts, slots, seconds, one, many, seen, drift in measured:
        lines.append(
            f"| {accounts} | {slots} | {seconds:.2f} s | {one:.2f} s | {seconds / one:.2f} | {many:.2f} s | "
            f"{seconds / many:.2f} | {seen.peak_rate} | ${seen.lowest_cash:,.2f} | {seen.cash_share:.2%} | {drift:.4f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (3)")
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite", help="what ours writes to")
    options = parser.parse_args()
    command = f"python -m benchmarks.ibkr --rounds {options.rounds} --database {options.database}"
    with tempfile.TemporaryDirectory() as folder:
        ours.prepare(Path(folder), options.database)
        workers = ours.Workers(settings.Q_CLUSTER["workers"])
        try:
            moments = {}
            measured = list(rows(workers, options.rounds, moments))
            text = table(measured, command)
            medians = phases.medians_of(moments)
            picture = phases.picture(medians, {row[0]: row[3] for row in measured})
            text += f"\n\nUntil when, medians again:\n\n{phases.table(medians)}"
            text += f"\n\n![Where the time goes]({PICTURE.format(options.database)})"
        finally:
            workers.stop()
    print(text)
    (PAGE.parent / PICTURE.format(options.database)).write_text(picture)
    begin = BEGIN.format(options.database)
    before, rest = PAGE.read_text().split(begin)
    PAGE.write_text(f"{before}{begin}\n{text}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
