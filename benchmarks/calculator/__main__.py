"""Compare the calculator with other methods and the exact optimum: `python -m benchmarks.calculator`."""

import argparse
from pathlib import Path

from benchmarks.calculator.measure import compare, growth, loop_time
from benchmarks.calculator.report import BEGIN, END, chart, table

DOCS = Path(__file__).resolve().parents[2] / "docs"
SYMBOLS, ACCOUNTS_PER_SIZE = [10, 100, 500, 3000], 9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=500, help="number of accounts (default: 500)")
    parser.add_argument(
        "--first-seed", type=int, default=1_100_000, help="seed of the first account (default: 1100000)"
    )
    parser.add_argument("--no-docs", action="store_true", help="print the results without changing docs/")
    options = parser.parse_args()
    loops = [loop_time()]
    grown = growth(SYMBOLS, ACCOUNTS_PER_SIZE)
    loops.append(loop_time())
    found = compare(options.first_seed, options.accounts)
    loops.append(loop_time())
    command = f"python -m benchmarks.calculator --accounts {options.accounts} --first-seed {options.first_seed}"
    text = table(found, grown, loops, command)
    print(text)
    if options.no_docs:
        return
    page = DOCS / "calculator.md"
    before, rest = page.read_text().split(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}")
    (DOCS / "calculator.svg").write_text(chart(found.scores))


if __name__ == "__main__":
    main()
