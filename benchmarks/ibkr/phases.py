"""Where the time of an event goes, read from the rows that its runs leave."""

import statistics

PHASES = {
    "event in the inbox, worker awake, runs taken up": "started",
    "link, guards, targets, account, quotes, plan, what-if, last look": "planned",
    "rows of the sells committed": "sells_sent",
    "sells acknowledged, filled, recorded": "sells_filled",
    "buys cut to the cash, their rows committed": "buys_sent",
    "buys acknowledged, filled": "filled",
}
"""Each phase by the moment that ends it, in their order."""


def moments(event, began, last_fill_at):
    """Seconds after the event at which its runs came to the end of each phase, the last of them."""
    from trading.models import TimelineEntry

    ours = TimelineEntry.objects.filter(run__in=event.runs.all())
    notes = list(ours.values_list("code", "message", "at"))
    ends = {
        "started": [at for code, _, at in notes if code == "started"],
        "planned": [at for code, _, at in notes if code == "planned"],
        "sells_sent": [at for code, words, at in notes if code == "order_sent" and words.startswith("SELL")],
        "sells_filled": [at for code, words, at in notes if code == "filled" and words.startswith("SELL")],
        "buys_sent": [at for code, words, at in notes if code == "order_sent" and words.startswith("BUY")],
    }
    return {name: max(ats).timestamp() - began for name, ats in ends.items()} | {"filled": last_fill_at - began}


def medians_of(measured):
    """By number of accounts, the median of each moment over the rounds."""
    return {
        accounts: {name: statistics.median(one[name] for one in rounds) for name in PHASES.values()}
        for accounts, rounds in measured.items()
    }


def table(medians):
    """A row for each phase, a column for each number of accounts."""
    lines = [
        "| Until the last run has come to the end of | " + " | ".join(f"{n} accounts" for n in medians) + " |",
        "|---|" + "---|" * len(medians),
    ]
    for words, name in PHASES.items():
        lines.append(f"| {words} | " + " | ".join(f"{one[name]:.2f} s" for one in medians.values()) + " |")
    return "\n".join(lines)


COLOURS = ("#566074", "#1d55e0", "#7aa2f7", "#d2541b", "#f0a37e", "#e8590c")
BARE = "#15803d"
WIDTH, LEFT, ROW = 760, 110, 56


def picture(medians, bare_seconds):
    """A bar for each number of accounts, cut into its phases, and the bare client's beneath it; as SVG."""
    longest = max([*(one["filled"] for one in medians.values()), *bare_seconds.values()])
    scale = (WIDTH - LEFT - 70) / longest
    parts = []
    for row, (accounts, moments) in enumerate(medians.items()):
        top, before = 20 + row * ROW, 0.0
        parts.append(_words(LEFT - 8, top + 15, f"{accounts} account{'s' if accounts > 1 else ''}", "end"))
        for colour, (words, name) in zip(COLOURS, PHASES.items(), strict=True):
            parts.append(_bar(LEFT + before * scale, top, (moments[name] - before) * scale, 20, colour, words))
            before = moments[name]
        parts += [
            _words(LEFT + before * scale + 6, top + 15, f"{before:.2f} s"),
            _bar(LEFT, top + 22, bare_seconds[accounts] * scale, 8, BARE, "bare client"),
            _words(LEFT + bare_seconds[accounts] * scale + 6, top + 31, f"bare {bare_seconds[accounts]:.2f} s"),
        ]
    legend = 20 + len(medians) * ROW + 10
    for row, (colour, words) in enumerate(zip(COLOURS, PHASES, strict=True)):
        parts += [_bar(LEFT, legend + row * 18, 12, 12, colour, ""), _words(LEFT + 18, legend + row * 18 + 11, words)]
    height = legend + len(PHASES) * 18 + 10
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="#ffffff"/>{"".join(parts)}</svg>\n'
    )


def _bar(left, top, width, height, colour, words):
    title = f"<title>{words}</title>" if words else ""
    return f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{height}" fill="{colour}">{title}</rect>'


def _words(left, top, words, anchor="start"):
    return f'<text x="{left:.1f}" y="{top}" text-anchor="{anchor}" fill="#1f2937">{words}</text>'
