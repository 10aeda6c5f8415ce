"""The targets of one strategy as CSV, as spreadsheets read and write it."""

import csv
import io

from pydantic import ValidationError

from accounts.refusal_text import problem_sentences, quoted
from accounts.static_targets import TargetEntry
from accounts.yaml.reading import ImportRefused, repeated

MAX_TARGETS = 2_000
COLUMNS = ("symbol", "weight")
OTHER_NAMES = {"ticker": "symbol", "allocation": "weight"}


def write_targets(rows: list[tuple[str, str]]) -> str:
    """Return pairs of symbol and weight as CSV with a header."""
    text = io.StringIO()
    csv.writer(text).writerows([COLUMNS, *rows])
    return text.getvalue()


def read_targets(content: bytes, name: str) -> list[TargetEntry]:
    """Return the targets of a CSV file: a header with symbol and weight, separated by comma, semicolon or tab.

    Args:
        content: the text in UTF-8.
        name: name of its file, for the messages.

    Raises:
        ImportRefused: With every problem in the file.
    """
    try:
        text = content.decode("utf-8-sig")
        header = text.partition("\n")[0]
        delimiter = max(",;\t", key=header.count)
        lines = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        lines.fieldnames = [
            OTHER_NAMES.get(each.strip().lower(), each.strip().lower()) for each in lines.fieldnames or ()
        ]
        if sorted(lines.fieldnames) != sorted(COLUMNS):
            raise ImportRefused([f"{name}: line 1: the columns must be symbol and weight."])
        rows = [(lines.line_num, row) for row in lines]
    except UnicodeDecodeError as error:
        raise ImportRefused([f"{name}: not text in UTF-8. Save it as “CSV UTF-8”."]) from error
    except csv.Error as error:
        raise ImportRefused([f"{name}: not CSV: {error}."]) from error
    if not 0 < len(rows) <= MAX_TARGETS:
        raise ImportRefused([f"{name}: has {len(rows):,} targets; 1 to {MAX_TARGETS:,} are possible."])
    return _entries(rows, name)


def _entries(rows: list[tuple[int, dict[str | None, object]]], name: str) -> list[TargetEntry]:
    entries, problems = [], []
    for number, row in rows:
        fields = {key: value.strip() if isinstance(value, str) else value for key, value in row.items()}
        label = f"{name}: line {number} ({quoted(fields.get('symbol'))})"
        if None in fields:
            problems.append(f"{label}: more than two columns.")
            continue
        try:
            entries.append(TargetEntry.model_validate(fields))
        except ValidationError as error:
            problems += [f"{label}: {problem}." for problem in problem_sentences(error.errors(), "row")]
    twice = repeated([entry.symbol for entry in entries])
    problems += [f"{name}: {symbol} appears {count} times." for symbol, count in twice]
    if problems:
        raise ImportRefused(problems)
    return entries
