"""Measure the phases of an event from the timelines of its runs."""

import statistics

PHASES = {
    "event stored, worker woken, runs started": "started",
    "connection, guards, targets, account, quotes, plan, what-if, final check": "planned",
    "sell orders committed": "sells_sent",
    "sells acknowledged, filled, recorded": "sells_filled",
    "buys reduced to the available cash, buy orders committed": "buys_sent",
    "buys acknowledged, filled": "filled",
}
"""Label of each phase and the name of the moment that ends it, in order."""


def moments(event, began, last_fill_at):
    """Return the seconds from the event until the last of its runs finished each phase."""
    from trading.models import TimelineEntry

    timeline = TimelineEntry.objects.filter(run__in=event.runs.all())
    entries = list(timeline.values_list("code", "message", "at"))
    ends = {
        "started": [at for code, _, at in entries if code == "started"],
        "planned": [at for code, _, at in entries if code == "planned"],
        "sells_sent": [at for code, message, at in entries if code == "order_sent" and message.startswith("SELL")],
        "sells_filled": [at for code, message, at in entries if code == "filled" and message.startswith("SELL")],
        "buys_sent": [at for code, message, at in entries if code == "order_sent" and message.startswith("BUY")],
    }
    return {name: max(ats).timestamp() - began for name, ats in ends.items()} | {"filled": last_fill_at - began}


def medians_of(measured):
    """Return the median of each moment over the rounds, by number of accounts."""
    return {
        accounts: {name: statistics.median(one[name] for one in rounds) for name in PHASES.values()}
        for accounts, rounds in measured.items()
    }


def table(medians):
    """Return a Markdown table with a row for each phase and a column for each number of accounts."""
    lines = [
        "| Phase | " + " | ".join(_count(number) for number in medians) + " |",
        "|---|" + "---|" * len(medians),
    ]
    for label, name in PHASES.items():
        lines.append(f"| {label} | " + " | ".join(f"{one[name]:.2f} s" for one in medians.values()) + " |")
    return "\n".join(lines)


COLORS = ("#566074", "#1d55e0", "#7aa2f7", "#d2541b", "#f0a37e", "#e8590c")
BASELINE_COLOR = "#15803d"
WIDTH, LEFT, RIGHT, ROW = 800, 110, 110, 56


def chart(medians, baseline_seconds):
    """Return an SVG chart: for each number of accounts a bar of its phases, and below it the baseline client's bar."""
    longest = max([*(one["filled"] for one in medians.values()), *baseline_seconds.values()])
    scale = (WIDTH - LEFT - RIGHT) / longest
    parts = []
    for row, (accounts, moments) in enumerate(medians.items()):
        top, before = 20 + row * ROW, 0.0
        parts.append(_text(LEFT - 8, top + 15, _count(accounts), "end"))
        for color, (label, name) in zip(COLORS, PHASES.items(), strict=True):
            parts.append(_bar(LEFT + before * scale, top, (moments[name] - before) * scale, 20, color, label))
            before = moments[name]
        parts += [
            _text(LEFT + before * scale + 6, top + 15, f"{before:.2f} s"),
            _bar(LEFT, top + 22, baseline_seconds[accounts] * scale, 8, BASELINE_COLOR, "baseline client"),
            _text(
                LEFT + baseline_seconds[accounts] * scale + 6, top + 31, f"baseline {baseline_seconds[accounts]:.2f} s"
            ),
        ]
    legend = 20 + len(medians) * ROW + 10
    for row, (color, label) in enumerate(zip(COLORS, PHASES, strict=True)):
        parts += [_bar(LEFT, legend + row * 18, 12, 12, color, ""), _text(LEFT + 18, legend + row * 18 + 11, label)]
    height = legend + len(PHASES) * 18 + 10
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="#ffffff"/>{"".join(parts)}</svg>\n'
    )


def _count(accounts):
    return f"{accounts} account{'s' if accounts > 1 else ''}"


def _bar(left, top, width, height, color, label):
    title = f"<title>{label}</title>" if label else ""
    return f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{height}" fill="{color}">{title}</rect>'


def _text(left, top, text, anchor="start"):
    return f'<text x="{left:.1f}" y="{top}" text-anchor="{anchor}" fill="#1f2937">{text}</text>'
