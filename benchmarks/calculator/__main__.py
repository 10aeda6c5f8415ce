"""`python -m benchmarks.calculator`: our calculator beside others and the exact optimum, in one run."""

import argparse
from pathlib import Path

from benchmarks.calculator.measure import compare, growth
from benchmarks.calculator.report import BEGIN, END, picture, table

DOCS = Path(__file__).resolve().parents[2] / "docs"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=300, help="how many accounts (300)")
    parser.add_argument("--first-seed", type=int, default=10_000, help="seed of the first account (10000)")
    options = parser.parse_args()
    scores = compare(options.first_seed, options.accounts)
    grown = growth([10, 100, 500, 3000], 5)
    command = f"python -m benchmarks.calculator --accounts {options.accounts} --first-seed {options.first_seed}"
    text = table(scores, grown, command)
    print(text)
    page = DOCS / "calculator.md"
    before, rest = page.read_text().split(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}")
    (DOCS / "calculator.svg").write_text(picture(scores))


if __name__ == "__main__":
    main()
