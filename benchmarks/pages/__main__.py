"""Measure every page of an installation with two years of data: `python -m benchmarks.pages`."""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.installation.site import prepare
from benchmarks.pages.seed import Seed
from benchmarks.pages.site import Intake, Site

PAGE = Path(__file__).resolve().parents[2] / "docs" / "performance.md"
BEGIN, END = "<!-- pages: begin -->", "<!-- pages: end -->"
LIMIT_MS = 200
EVENTS_PER_SECOND = 200


def addresses():
    """Return the address of every page, with a preview and a run that have orders."""
    from accounts.models import Account
    from tests.support.pages import admin_lists, product_pages
    from trading.models import RebalanceRun

    account = Account.objects.get(account_id="SEED-00000")
    newest = {mode: account.runs.filter(mode=mode, state="completed").first() for mode in ("preview", "execute")}
    pages = product_pages(
        account=account.account_id,
        strategy=account.followed_strategy.name,
        replacement_set=account.replacement_set.name,
        preview=newest["preview"].run_id,
        run=newest["execute"].run_id,
    )
    middle = RebalanceRun.objects.order_by("id")[RebalanceRun.objects.count() // 2].pk
    pages |= {
        "dashboard, last page": "/?page=9999",
        "runs, middle page": f"/runs/?before={middle}",
        "admin: an account": f"/admin/accounts/account/{account.pk}/change/",
        "admin: runs, search": "/admin/trading/rebalancerun/?q=SEED-00500",
    }
    return pages | admin_lists()


def measure(site, pages, rounds):
    """Return the response times of every page in milliseconds; each round opens all pages in turn."""
    took = {name: [] for name in pages}
    for address in pages.values():
        site.open(address)
    for _ in range(rounds):
        for name, address in pages.items():
            took[name].append(site.open(address))
    return took


def summary(took):
    requests = sorted(one for values in took.values() for one in values)
    return f"median {statistics.median(requests):.0f} ms, p99 {requests[int(0.99 * len(requests))]:.0f} ms"


def table(alone, beside, rate, options, seeded_seconds):
    lines = [
        f"Measured by `python -m benchmarks.pages --rounds {options.rounds}`: {options.accounts:,} accounts, "
        f"{options.runs:,} runs with their orders and fills, PostgreSQL, gunicorn as in the image, {os.cpu_count()} "
        f"cores, load average {os.getloadavg()[0]:.1f}; {options.rounds} requests per page. Seeding took "
        f"{seeded_seconds:.0f} s. All requests: {summary(alone)}; during events {summary(beside)}. Events: "
        f"{rate:.0f} per second accepted by two processes ({EVENTS_PER_SECOND} sent), each for one account.",
        "",
        "| Page | Median | Slowest | Median during events | Slowest during events |",
        "|---|---|---|---|---|",
    ]
    for name in sorted(alone, key=lambda name: (name.startswith("admin"), -statistics.median(alone[name]))):
        cells = (f(values[name]) for values in (alone, beside) for f in (statistics.median, max))
        lines.append(f"| {name} | " + " | ".join(f"{cell:.0f} ms" for cell in cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        from django.core.management import call_command
        from django.db import connection

        call_command("collectstatic", interactive=False, verbosity=0)
        began = time.monotonic()
        Seed(options.accounts, options.runs).fill()
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
        seeded_seconds = time.monotonic() - began
        print(f"Seeded in {seeded_seconds:.0f} s", flush=True)
        pages, site = addresses(), Site()
        try:
            alone = measure(site, pages, options.rounds)
            intake = Intake(EVENTS_PER_SECOND, options.accounts)
            try:
                beside = measure(site, pages, options.rounds)
            finally:
                rate = intake.close()
        finally:
            site.close()
    text = table(alone, beside, rate, options, seeded_seconds)
    print(text)
    before, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}")
    slow = [name for name, values in alone.items() if statistics.median(values) > LIMIT_MS]
    assert not slow, f"Slower than {LIMIT_MS} ms at the median: {', '.join(slow)}"


if __name__ == "__main__":
    main()
