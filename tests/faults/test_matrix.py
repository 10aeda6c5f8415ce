"""The matrix is complete, its tests exist, and the documented state machines equal the tables in the code."""

import ast
import re

import pytest

from tests.faults.matrix import MATRIX
from tests.support.installation import ROOT
from trading.journal import orders, runs


def test_matrix_rows_are_numbered_and_their_tests_exist():
    assert [row.number for row in MATRIX] == list(range(1, 46))
    for test in {test for row in MATRIX for test in row.tests}:
        path, _, name = test.partition("::")
        names = {node.name for node in ast.walk(ast.parse((ROOT / path).read_text())) if hasattr(node, "name")}
        assert name in names, test


@pytest.mark.parametrize(("heading", "table"), [("## Runs", runs.TRANSITIONS), ("## Orders", orders.TRANSITIONS)])
def test_documented_state_machine_equals_the_table(heading, table):
    text = (ROOT / "docs" / "architecture.md").read_text()
    drawing = text[text.index(heading) :].partition("```mermaid")[2].partition("```")[0]
    drawn = set(re.findall(r"^  (\w+) --> (\w+)", drawing, re.MULTILINE))
    assert drawn == {(str(source), str(target)) for target, sources in table.items() for source in sources}
