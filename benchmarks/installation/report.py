"""The tables and the picture of docs/performance.md."""

from math import log10

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
COLOURS = {1: "#566074", 2: "#1d55e0", 4: "#d2541b"}
NAMES = {"simulated": "simulated broker", "ibkr": "wire-level gateway of Interactive Brokers"}


def tables(took, picked_up, taken_in, command):
    """What was measured, as Markdown."""
    lines = [f"Measured by `{command}`, each once, workers running already and idle.", ""]
    for broker in dict.fromkeys(one.broker for one in took):
        rows = [one for one in took if one.broker == broker]
        bare = " Bare client |" if broker == "ibkr" else ""
        lines += [
            f"Event to last fill, {NAMES[broker]}:",
            "",
            f"| Accounts | Orders | Worker processes | Event to last fill | An account |{bare}",
            "|---|---|---|---|---|" + ("---|" if bare else ""),
        ]
        for one in rows:
            beside = f" {one.bare_seconds:.2f} s |" if one.bare_seconds is not None else ""
            each = one.seconds / one.accounts
            lines.append(
                f"| {one.accounts} | {one.orders} | {one.processes} | {one.seconds:.2f} s | {each:.2f} s |{beside}"
            )
        lines.append("")
    median, worst = picked_up
    lines += [
        f"Pick-up: an idle worker starts a run {median:.0f} ms after its event is committed (median; worst {worst:.0f} ms).",
        "",
        "| Accounts that follow the strategy | Events taken in a second, one process |",
        "|---|---|",
        *(f"| {accounts} | {rate:.1f} |" for accounts, rate in taken_in.items()),
    ]
    return "\n".join(lines)


def picture(took):
    """Seconds against accounts, one line for each broker and number of processes; both axes are logarithmic."""
    width, height, left, bottom, right = 680, 340, 60, 50, 190
    highest = max(one.seconds for one in took)
    y_low, y_high = -1, max(1, int(log10(highest)) + 1)

    def x(accounts):
        return left + log10(accounts) / 2 * (width - left - right)

    def y(seconds):
        share = (log10(max(seconds, 0.1)) - y_low) / (y_high - y_low)
        return height - bottom - share * (height - bottom - 20)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for power in range(y_low, y_high + 1):
        at = y(10.0**power)
        parts.append(f'<line x1="{left}" y1="{at:.1f}" x2="{width - right}" y2="{at:.1f}" stroke="#e3e8f0"/>')
        parts.append(f'<text x="{left - 6}" y="{at + 4:.1f}" text-anchor="end">{10.0**power:g} s</text>')
    for accounts in sorted({one.accounts for one in took}):
        at, base = x(accounts), height - bottom
        parts.append(f'<line x1="{at:.1f}" y1="20" x2="{at:.1f}" y2="{base}" stroke="#e3e8f0"/>')
        parts.append(f'<text x="{at:.1f}" y="{base + 18}" text-anchor="middle">{accounts}</text>')
    series = dict.fromkeys((one.broker, one.processes) for one in took)
    for number, (broker, processes) in enumerate(series):
        points = [one for one in took if (one.broker, one.processes) == (broker, processes)]
        path = " ".join(f"{x(one.accounts):.1f},{y(one.seconds):.1f}" for one in points)
        dash = ' stroke-dasharray="5 4"' if broker == "simulated" else ""
        stroke = f'stroke="{COLOURS[processes]}" stroke-width="2"{dash}'
        parts.append(f'<polyline points="{path}" fill="none" {stroke}/>')
        row = 30 + 20 * number
        parts.append(f'<line x1="{width - right + 12}" y1="{row}" x2="{width - right + 36}" y2="{row}" {stroke}/>')
        parts.append(f'<text x="{width - right + 42}" y="{row + 4}">{broker}, {processes} process(es)</text>')
    parts.append(
        f'<text x="{(width - right + left) / 2}" y="{height - 8}" text-anchor="middle">accounts of the event</text>'
    )
    parts.append("</svg>")
    return "\n".join(parts) + "\n"
