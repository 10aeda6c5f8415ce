"""Safe reading of YAML files that users wrote, with messages that name the place of each problem."""

import sys
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import yaml
from django.db import transaction
from pydantic import ValidationError

Content = TypeVar("Content")

MAX_BYTES = 5_000_000


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


class _StrictLoader(yaml.SafeLoader):
    """Safe loader that rejects duplicate keys and aliases, since a few lines of aliases can expand to gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="aliases are not allowed", problem_mark=self.get_mark())
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"{key!r} appears twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _decimal(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Decimal | str:
    text = loader.construct_scalar(node)
    try:
        return Decimal(text.replace("_", ""))
    except ArithmeticError:
        return text


_StrictLoader.add_constructor("tag:yaml.org,2002:float", _decimal)


def read_yaml(path: Path) -> Any:
    """Return the content of the file, or of standard input for `-`. Decimal numbers are exact.

    Raises:
        ImportRefused: The file cannot be read or is not YAML.
    """
    try:
        # A container receives the file on standard input.
        with sys.stdin.buffer if path == Path("-") else path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ImportRefused([f"{path.name}: larger than {MAX_BYTES:,} bytes."])
        return yaml.load(content.decode("utf-8"), Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise ImportRefused([f"{path}: cannot be read: {error.strerror}."]) from error
    except UnicodeDecodeError as error:
        raise ImportRefused([f"{path.name}: not a text file in UTF-8."]) from error
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ImportRefused([f"{path.name}: {line}{error.problem}."]) from error
    except yaml.YAMLError as error:
        raise ImportRefused([f"{path.name}: not YAML."]) from error


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
    return [
        f"{where}: {'.'.join(map(str, problem['loc'])) or 'entry'}: {problem['msg']}." for problem in error.errors()
    ]
