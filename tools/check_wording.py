"""Check documents, templates, comments and strings for wording that the project does not use.

The words, their replacements and the reasoned exceptions are in `tools/wording.toml`.
"""

import ast
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
RULES = Path(__file__).with_name("wording.toml")
PROSE = {".md", ".html", ".txt", ".yaml", ".example"}
SKIPPED = ("static/vendor/", "tests/", "requirements/", "tools/wording.toml", "tools/check_wording.py")


def python_text(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line number and text of every comment and every string of a module, f-strings included."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            for offset, line in enumerate(node.value.splitlines()):
                yield node.lineno + offset, line


def text_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line number and text of the parts of a file that a person reads."""
    source = path.read_text()
    if path.suffix == ".py":
        yield from python_text(source)
        return
    for number, line in enumerate(source.splitlines(), 1):
        yield number, re.sub(r"\{[{%#].*?[%#}]\}|`[^`]*`", " ", line)


def findings(path: Path, name: str, words: dict[str, str], allowed: dict[str, dict[str, str]]) -> Iterator[str]:
    """Yield one line for each use of a word that is not an exception."""
    excepted = {text for prefix, texts in allowed.items() if name.startswith(prefix) for text in texts}
    pattern = re.compile(
        r"\b(?:" + "|".join(f"(?P<w{index}>{word})" for index, word in enumerate(words)) + r")\b", re.IGNORECASE
    )
    replacements = list(words.values())
    for number, line in text_of(path):
        for match in pattern.finditer(line):
            context = line.lower()
            word = match.group().lower()
            if any(text in context and (word in text or text in word) for text in excepted):
                continue
            index = next(index for index in range(len(replacements)) if match.group(f"w{index}") is not None)
            yield f"{name}:{number}: {match.group()!r}: write {replacements[index]}"


def main(arguments: list[str]) -> int:
    """Print every finding in the tracked files, or in the named ones, and return 1 if there is one."""
    rules = tomllib.loads(RULES.read_text())
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout  # noqa: S607
    names = [name for name in listed.splitlines() if Path(name).suffix in PROSE | {".py"}]
    if arguments:
        names = [name for name in names if name.startswith(tuple(arguments))]
    names = [name for name in names if not name.startswith(SKIPPED) and "/migrations/" not in name]
    count = 0
    for name in names:
        for finding in findings(ROOT / name, name, rules["words"], rules["exceptions"]):
            sys.stdout.write(f"{finding}\n")
            count += 1
    sys.stdout.write(f"{count} findings in {len(names)} files\n")
    return 1 if count else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
