"""Safe reading of YAML files that users wrote, with messages that name the place of each problem."""

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from django.db import transaction
from pydantic import ValidationError

from accounts.refusal_text import problem_sentences, shortened
from accounts.yaml.loader import TextLoader

Content = TypeVar("Content")

MAX_BYTES = 5_000_000
MAX_PROBLEM = 200
"""Maximum length of a repeated message of the parser, in characters."""


class ImportRefused(Exception):  # noqa: N818 - a refusal with a list of problems
    """The file was not imported; nothing has changed. Each of `problems` names file, entry and field."""

    code = "import_refused"

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass
class Report:
    """Number of rows that an import changed, or would change."""

    created: int = 0
    changed: int = 0
    unchanged: int = 0
    notes: tuple[str, ...] = ()


def read_yaml(path: Path) -> Any:
    """Return the content of the file, or of standard input for `-`. Text stays text; decimal numbers are exact.

    Raises:
        ImportRefused: The file cannot be read or is not YAML.
    """
    try:
        # A container receives the file on standard input.
        with sys.stdin.buffer if path == Path("-") else path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ImportRefused([f"{path}: cannot be read: {error.strerror}."]) from error
    if len(content) > MAX_BYTES:
        raise ImportRefused([f"{path.name}: larger than {MAX_BYTES:,} bytes."])
    return parse_yaml(content, path.name)


def parse_yaml(content: bytes, name: str) -> Any:
    """Return the content of a YAML text.

    Args:
        content: the text in UTF-8.
        name: name of its file, for the messages.

    Raises:
        ImportRefused: It is not YAML, or uses a part of YAML that is refused.
    """
    try:
        text = content.decode("utf-8-sig")
        return yaml.load(text, Loader=TextLoader)  # noqa: S506 - a SafeLoader
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ImportRefused([f"{name}: line {line}: not text in UTF-8."]) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        problem = shortened(error.problem or error.context, MAX_PROBLEM)
        raise ImportRefused([f"{name}: line {line}: {problem}."]) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ImportRefused([f"{name}: line {line}: a character that is not allowed in YAML."]) from error


def save_all(content: Content, save: Callable[[Content], Report], *, dry_run: bool) -> Report:
    """Save the content in one transaction, which a dry run rolls back."""
    with transaction.atomic():
        report = save(content)
        if dry_run:
            transaction.set_rollback(True)
    return report


def repeated(names: list[str]) -> list[tuple[str, int]]:
    """Return the names that appear more than once with their number, sorted."""
    return sorted((name, count) for name, count in Counter(names).items() if count > 1)


def problems_of(error: ValidationError, where: str) -> list[str]:
    """Return a message for each problem, with entry and field."""
    return [f"{where}: {problem}." for problem in problem_sentences(error.errors(), "entry")]
