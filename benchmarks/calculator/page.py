"""Write measurements into docs/calculator.md."""

from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def write_measured(part: str, text: str) -> None:
    """Replace one part of docs/calculator.md, which stands between two comments with its name."""
    page, begin, end = DOCS / "calculator.md", f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
    before, rest = page.read_text().split(begin)
    page.write_text(f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}")
