"""`python -m calculator plan|fit-buys`: JSON lines from standard input to standard output."""

import sys

from calculator.json_lines import answer_fit_buys, answer_plan

COMMANDS = {"plan": answer_plan, "fit-buys": answer_fit_buys}


def main() -> int:
    """Answer line by line until the input ends."""
    if len(sys.argv) != 2 or sys.argv[1] not in COMMANDS:
        sys.stderr.write("usage: python -m calculator plan|fit-buys\n")
        return 2
    answer = COMMANDS[sys.argv[1]]
    for line in sys.stdin.buffer:  # bytes, so that a line that is not UTF-8 is refused like any invalid JSON
        if line.strip():
            sys.stdout.write(answer(line) + "\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
