"""The table and the picture of the documents."""

from benchmarks.calculator.measure import ROUNDS_OF_LOOP, Comparison, Score

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def table(found: Comparison, grown: dict[int, float], loops: list[float], command: str) -> str:
    """What was measured, as Markdown; `loops` are milliseconds of the plain loop, from the beginning to the end."""
    speed = ", ".join(f"{loop:.1f}" for loop in loops)
    head = (
        f"Measured by `{command}`; everything ran one after the other on one core. Times are processor time. A plain Python "
        f"loop of {ROUNDS_OF_LOOP:,} rounds took {speed} ms: before the growth, after it, and at the end."
    )
    lines = [
        head,
        "",
        "| Way | Infeasible | Against a rule | Mean | Median | p99 | Worst | Above 1.05 | Time, median | Time, p99 |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for score in found.scores:
        row = score.row()
        lines.append(
            f"| {score.name} | {row['infeasible']:.1%} | {row['against rules']:.1%} | {row['mean']:.4f} | "
            f"{row['median']:.4f} | {row['p99']:.3f} | {row['worst']:.3f} | "
            f"{row['above 1.05']:.0f} of {row['accounts']:.0f} | {row['time median']:.1f} ms | "
            f"{row['time p99']:.1f} ms |"
        )
    failed = ", ".join(f"{score.name}: {score.failed}" for score in found.scores if score.failed)
    broken = "; ".join(f"account {seed}: {', '.join(rules)}" for seed, rules in found.broken.items())
    told = (
        f"Rules that our plans broke: {broken or 'none'}. Accounts that our calculator refused, and nobody was asked "
        f"about: {found.refused}. Optimum not proven in time, so that the solver's bound stands for it: "
        f"{found.unproven}; no answer of the solver at all: {found.unsolved}. Accounts on which another way failed: "
        f"{failed or 'none'}."
    )
    lines += ["", told, "", "| Symbols | Ours, median (each the best of three) |", "|---|---|"]
    lines += [f"| {size:,} | {milliseconds:.1f} ms |" for size, milliseconds in grown.items()]
    return "\n".join(lines)


def picture(scores: list[Score]) -> str:
    """Time against error, each way a dot, as SVG; both axes are logarithmic."""
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
        colour = "#1d55e0" if name == "ours" else "#566074"
        parts.append(f'<circle cx="{x(took):.1f}" cy="{y(over):.1f}" r="5" fill="{colour}"/>')
        parts.append(f'<text x="{x(took) + 8:.1f}" y="{y(over) - 6:.1f}" fill="{colour}">{name}</text>')
    parts.append(f'<text x="{width / 2}" y="{height - 8}" text-anchor="middle">time an account, median</text>')
    parts.append('<text x="14" y="14">error above the optimum, mean of the feasible</text></svg>')
    return "\n".join(parts) + "\n"
