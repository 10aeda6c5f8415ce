"""Error codes: each is declared once, documented and emitted, and no other code is emitted."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.error_docs import DOCUMENT, broker_errors, document, sections

ROOT = Path(__file__).parents[2]
DECLARATIONS = {"trading/error_codes.py", "calculator/reason_codes.py", "brokers/exceptions.py"}
CARRIERS = {
    "CalculationRefused",
    "CalculationWarning",
    "Deferred",
    "ErrorLine",
    "EventRejected",
    "GuardResult",
    "NeedsAttention",
    "Refusal",
    "Refused",
    "RunFailed",
    "RunWarning",
    "_Passing",
    "_feasible",
    "_result",
    "find_or_404",
}
"""Classes and functions whose calls carry a code: as `code=`, or as the first argument that looks like one."""
CODES = Counter(code for codes in sections().values() for code in codes)


def syntax_trees() -> Iterator[ast.AST]:
    for folder in ("accounts", "brokers", "calculator", "trading"):
        for path in (ROOT / folder).rglob("*.py"):
            if str(path.relative_to(ROOT)) not in DECLARATIONS and "migrations" not in path.parts:
                yield ast.parse(path.read_text())


@pytest.fixture(scope="module")
def nodes() -> list[ast.AST]:
    return [node for tree in syntax_trees() for node in ast.walk(tree)]


@pytest.fixture(scope="module")
def strings(nodes: list[ast.AST]) -> set[str]:
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


@pytest.fixture(scope="module")
def names(nodes: list[ast.AST]) -> set[str]:
    return {node.id for node in nodes if isinstance(node, ast.Name)}


def carried_code(call: ast.Call) -> str | None:
    name = call.func.id if isinstance(call.func, ast.Name) else None
    if name not in CARRIERS:
        return None
    arguments = [keyword.value for keyword in call.keywords if keyword.arg == "code"] or call.args
    strings = [argument.value for argument in arguments if isinstance(argument, ast.Constant)]
    return next((text for text in strings if isinstance(text, str) and re.fullmatch("[a-z]+(_[a-z]+)+", text)), None)


def test_error_document_is_generated_from_the_tables() -> None:
    assert DOCUMENT.read_text() == document(), "run `make docs`"


def test_codes_are_declared_once() -> None:
    """A guard and the connectors share one code: the account's type differs from the installation or the broker."""
    assert {code for code, count in CODES.items() if count > 1} == {"wrong_environment"}


def test_codes_carried_by_the_program_are_declared(nodes: list[ast.AST]) -> None:
    carried = {code for node in nodes if isinstance(node, ast.Call) and (code := carried_code(node))}
    assert len(carried) > 80
    assert carried - set(CODES) == set()


@pytest.mark.parametrize("code", sorted(set(CODES) - {error.code for error in broker_errors()}))
def test_declared_code_is_used_by_the_program(code: str, strings: set[str]) -> None:
    assert code in strings


@pytest.mark.parametrize("error", broker_errors())
def test_broker_exception_is_used_by_the_program(error: type, names: set[str]) -> None:
    assert error.__name__ in names or error.__subclasses__()


def test_every_code_has_a_meaning_that_ends_with_a_period() -> None:
    for codes in sections().values():
        for code, meaning in codes.items():
            assert meaning.endswith("."), code
