"""Write the table and the chart of docs/calculator.md."""

from benchmarks.calculator.measure import LOOP_ITERATIONS, Comparison, Score
from benchmarks.calculator.shortfalls import Shortfall


def shortfall_table(found: list[Shortfall]) -> list[str]:
    """Return the results of `fit_buys` as lines of Markdown."""
    lines = [
        "| `fit_buys` when | Accounts | Mean | p99 | Worst | Above 1.05 | Spends the reserve or adds shares |",
        "|---|---|---|---|---|---|---|",
    ]
    for shortfall in found:
        row = shortfall.row()
        share = row["above 1.05"] / max(1, row["accounts"])
        lines.append(
            f"| {shortfall.name} | {row['accounts']:.0f} | {row['mean']:.4f} | {row['p99']:.3f} | {row['worst']:.3f} | "
            f"{row['above 1.05']:.0f} ({share:.1%}) | {row['broken']:.0f} |"
        )
    return lines


def table(found: Comparison, grown: dict[int, float], loops: list[float], command: str) -> str:
    """Return the results as Markdown; `loops` are times of the plain loop in milliseconds, in the order of measurement."""
    speed = ", ".join(f"{loop:.1f}" for loop in loops)
    head = (
        f"Measured by `{command}` on one core, one method after the other. Times are processor time. A plain Python "
        f"loop of {LOOP_ITERATIONS:,} iterations took {speed} ms: before the growth measurement, after it, and at the end."
    )
    lines = [
        head,
        "",
        "| Method | Infeasible | Breaks a rule | Mean | Median | p99 | Worst | Above 1.05 | Time, median | Time, p99 |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for score in found.scores:
        row = score.row()
        lines.append(
            f"| {score.name} | {row['infeasible']:.1%} | {row['breaks a rule']:.1%} | {row['mean']:.4f} | "
            f"{row['median']:.4f} | {row['p99']:.3f} | {row['worst']:.3f} | "
            f"{row['above 1.05']:.0f} of {row['accounts']:.0f} | {row['time median']:.1f} ms | "
            f"{row['time p99']:.1f} ms |"
        )
    failed = ", ".join(f"{score.name}: {score.failed}" for score in found.scores if score.failed)
    broken = "; ".join(f"account {seed}: {', '.join(rules)}" for seed, rules in found.broken.items())
    summary = (
        f"Rules broken by this calculator's plans: {broken or 'none'}. Accounts refused by this calculator and not given to "
        f"the other methods: {found.refused}. Accounts for which the solver did not prove the optimum in time, so that its "
        f"bound is used: {found.unproven}; without a solver result: {found.unsolved}. Accounts on which another method "
        f"failed: {failed or 'none'}."
    )
    lines += [
        "",
        summary,
        "",
        *shortfall_table(found.shortfalls),
        "",
        "| Symbols | This calculator, median (best of three for each account) |",
        "|---|---|",
    ]
    lines += [f"| {size:,} | {milliseconds:.1f} ms |" for size, milliseconds in grown.items()]
    return "\n".join(lines)


def chart(scores: list[Score]) -> str:
    """Return an SVG chart of time against error, one dot for each method; both axes are logarithmic."""
    from math import log10

    width, height, left, bottom = 640, 320, 70, 50
    points = [
        (score.name, max(score.row()["time median"], 0.01), max(score.row()["mean"] - 1, 1e-4)) for score in scores
    ]
    x_low, x_high, y_low, y_high = -2, 3, -4, 2

    def x(value: float) -> float:
        return left + (log10(value) - x_low) / (x_high - x_low) * (width - left - 20)

    def y(value: float) -> float:
        return height - bottom - (log10(value) - y_low) / (y_high - y_low) * (height - bottom - 20)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for power in range(x_low, x_high + 1):
        at = x(10**power)
        parts.append(f'<line x1="{at:.1f}" y1="20" x2="{at:.1f}" y2="{height - bottom}" stroke="#e3e8f0"/>')
        parts.append(f'<text x="{at:.1f}" y="{height - bottom + 18}" text-anchor="middle">{10.0**power:g} ms</text>')
    for power in range(y_low, y_high + 1):
        at = y(10.0**power)
        parts.append(f'<line x1="{left}" y1="{at:.1f}" x2="{width - 20}" y2="{at:.1f}" stroke="#e3e8f0"/>')
        parts.append(f'<text x="{left - 6}" y="{at + 4:.1f}" text-anchor="end">{100 * 10.0**power:g} %</text>')
    for name, took, over in points:
        color = "#1d55e0" if name == "this calculator" else "#566074"
        parts.append(f'<circle cx="{x(took):.1f}" cy="{y(over):.1f}" r="5" fill="{color}"/>')
        parts.append(f'<text x="{x(took) + 8:.1f}" y="{y(over) - 6:.1f}" fill="{color}">{name}</text>')
    parts.append(f'<text x="{width / 2}" y="{height - 8}" text-anchor="middle">time per account, median</text>')
    parts.append('<text x="14" y="14">error above the optimum, mean of feasible accounts</text></svg>')
    return "\n".join(parts) + "\n"
