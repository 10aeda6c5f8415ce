"""Write the tables and the chart of docs/performance.md."""

import os
from math import ceil, log10
from pathlib import Path

from benchmarks.installation.cells import ORDERS_PER_ACCOUNT, Cell

DOCS = Path(__file__).resolve().parents[2] / "docs"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
COLORS = {1: "#566074", 4: "#1d55e0", 8: "#d2541b"}
BASELINE_COLOR = "#15803d"
HEAD = (
    "| Accounts | Orders | Worker processes | Event to last fill | Baseline client | Ratio | "
    "Commits per order | Worker processor time per order |"
)
RULE = "|---|---|---|---|---|---|---|---|"


def write(results):
    """Write all results so far into the document, between its markers."""
    measured = sorted(
        (Cell(**cell) for cell in results["cells"].values()), key=lambda one: (one.accounts, one.processes)
    )
    parts = []
    if measured:
        (DOCS / "performance.svg").write_text(chart(measured))
        parts += [table(measured), "![Event to last fill](performance.svg)"]
    if "intake" in results:
        parts.append(intake_table(results["pick_up"], results["intake"]))
    page = DOCS / "performance.md"
    before, rest = page.read_text().split(BEGIN)
    page.write_text("\n".join((f"{before}{BEGIN}", "\n\n".join(parts), f"{END}{rest.split(END)[1]}")))


def table(measured):
    """Return the table of event to last fill, one row for each measurement."""
    first, last = (choose(one.measured_at for one in measured) for choose in (min, max))
    lowest, highest = (choose(one.load_average for one in measured) for choose in (min, max))
    summary = (
        f"`python -m benchmarks.installation`, one measurement each, {first} to {last[-5:]} UTC, on {os.cpu_count()} cores shared "
        f"by the gateway, PostgreSQL and the workers (load average before each: {lowest:.1f} to {highest:.1f}):"
    )
    return "\n".join([summary, "", HEAD, RULE, *map(_row, measured)])


def _row(one):
    columns = [one.accounts, one.accounts * ORDERS_PER_ACCOUNT, one.processes]
    if one.seconds is None:
        columns += [f"time limit, {one.filled} filled", f"{one.baseline_seconds:.2f} s", ""]
    else:
        columns += [
            f"{one.seconds:.2f} s",
            f"{one.baseline_seconds:.2f} s",
            f"{one.seconds / one.baseline_seconds:.1f}",
        ]
    orders = max(1, one.filled)
    columns += [f"{one.commits / orders:.1f}", f"{1000 * one.processor_seconds / orders:.0f} ms"]
    return f"| {' | '.join(map(str, columns))} |"


def intake_table(latency, rates):
    """Return the start latency and the table of accepted events."""
    summary = (
        f"An idle worker starts a run {latency['median_ms']:.0f} ms after its event is committed "
        f"(median; worst {latency['worst_ms']:.0f} ms)."
    )
    lines = [
        summary,
        "",
        "| Accounts that follow the strategy | Events accepted per second, one process |",
        "|---|---|",
        *(f"| {accounts} | {rate:.1f} |" for accounts, rate in sorted(rates.items(), key=lambda row: int(row[0]))),
    ]
    return "\n".join(lines)


def chart(measured):
    """Return an SVG chart of seconds against accounts, a line for each number of processes; both axes are logarithmic."""
    series = {
        f"{number} process{'es' if number > 1 else ''}": (COLORS[number], "", _line(measured, number))
        for number in COLORS
    }
    baseline = {
        one.accounts: min(same.baseline_seconds for same in measured if same.accounts == one.accounts)
        for one in measured
    }
    series["baseline client"] = (BASELINE_COLOR, ' stroke-dasharray="5 4"', sorted(baseline.items()))
    shown = [seconds for _, _, points in series.values() for _, seconds in points]
    axes = _Axes(max(accounts for accounts, _ in series["baseline client"][2]), min(shown), max(shown))
    parts = axes.frame(sorted(baseline))
    for number, (name, (color, dash, points)) in enumerate(series.items()):
        stroke = f'stroke="{color}" stroke-width="2"{dash}'
        path = " ".join(f"{axes.x(accounts):.1f},{axes.y(seconds):.1f}" for accounts, seconds in points)
        parts.append(f'<polyline points="{path}" fill="none" {stroke}/>')
        parts += [
            f'<circle cx="{axes.x(accounts):.1f}" cy="{axes.y(seconds):.1f}" r="3" fill="{color}"/>'
            for accounts, seconds in points
        ]
        row, at = 30 + 20 * number, axes.right + 12
        parts.append(f'<line x1="{at}" y1="{row}" x2="{at + 24}" y2="{row}" {stroke}/>')
        parts.append(f'<text x="{at + 30}" y="{row + 4}">{name}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _line(measured, processes):
    return [(one.accounts, one.seconds) for one in measured if one.processes == processes and one.seconds]


class _Axes:
    """Position of the points, and the axes around them."""

    width, height, left, bottom, right = 640, 340, 60, 50, 500

    def __init__(self, most_accounts, lowest, highest):
        self._decades = max(1.0, log10(most_accounts))
        self._low, self._high = int(log10(lowest) // 1), ceil(log10(highest))

    def x(self, accounts):
        return self.left + log10(accounts) / self._decades * (self.right - self.left)

    def y(self, seconds):
        share = (log10(seconds) - self._low) / (self._high - self._low)
        return self.height - self.bottom - share * (self.height - self.bottom - 20)

    def frame(self, accounts):
        base = self.height - self.bottom
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" font-family="sans-serif" font-size="12">',
            f'<rect width="{self.width}" height="{self.height}" fill="#fff"/>',
        ]
        for power in range(self._low, self._high + 1):
            at = self.y(10.0**power)
            parts.append(f'<line x1="{self.left}" y1="{at:.1f}" x2="{self.right}" y2="{at:.1f}" stroke="#e3e8f0"/>')
            parts.append(f'<text x="{self.left - 6}" y="{at + 4:.1f}" text-anchor="end">{10.0**power:g} s</text>')
        for number in accounts:
            at = self.x(number)
            parts.append(f'<line x1="{at:.1f}" y1="20" x2="{at:.1f}" y2="{base}" stroke="#e3e8f0"/>')
            parts.append(f'<text x="{at:.1f}" y="{base + 18}" text-anchor="middle">{number}</text>')
        middle = (self.left + self.right) / 2
        return [*parts, f'<text x="{middle}" y="{self.height - 8}" text-anchor="middle">accounts per event</text>']
