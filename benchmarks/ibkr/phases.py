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


def table(measured):
    """A row for each phase, a column for each number of accounts; medians of the rounds."""
    medians = {
        accounts: {name: statistics.median(one[name] for one in rounds) for name in PHASES.values()}
        for accounts, rounds in measured.items()
    }
    lines = [
        "| Until the last run has come to the end of | " + " | ".join(f"{n} accounts" for n in medians) + " |",
        "|---|" + "---|" * len(medians),
    ]
    for words, name in PHASES.items():
        lines.append(f"| {words} | " + " | ".join(f"{one[name]:.2f} s" for one in medians.values()) + " |")
    return "\n".join(lines)
