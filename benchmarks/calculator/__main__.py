"""Compare the calculator with other methods and the exact optimum: `python -m benchmarks.calculator`."""

import argparse

from benchmarks.calculator.measure import compare, growth, loop_time
from benchmarks.calculator.page import DOCS, write_measured
from benchmarks.calculator.report import chart, table
from benchmarks.calculator.year import year_table

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
    text, year = table(found, grown, loops, command), year_table()
    print(text, year, sep="\n\n")
    if options.no_docs:
        return
    write_measured("measured", text)
    write_measured("year", year)
    (DOCS / "calculator.svg").write_text(chart(found.scores))


if __name__ == "__main__":
    main()
