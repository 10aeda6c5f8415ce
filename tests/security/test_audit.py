"""Exit code and message of the audit of the dependencies."""

import sys

import pytest

from tools.audit import judge, main

SAFE = {"name": "a", "version": "1", "vulns": []}
VULNERABLE = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}
UNKNOWN = {"name": "c", "skip_reason": "Dependency not found on PyPI"}


def test_judge_without_vulnerabilities_returns_0():
    assert judge({"dependencies": [SAFE]}) == (0, "1 of 1 dependencies looked up, 0 with known vulnerabilities.")


def test_judge_with_vulnerability_returns_1_and_names_it():
    code, message = judge({"dependencies": [SAFE, VULNERABLE]})
    assert (code, "b 2: PYSEC-1, fixed in 3" in message) == (1, True)


def test_judge_with_skipped_dependency_prints_a_warning():
    code, message = judge({"dependencies": [SAFE, UNKNOWN]})
    assert (code, "NOT AUDITED: 1 dependencies" in message, "1 of 2" in message) == (0, True, True)
    assert judge({"dependencies": [VULNERABLE, UNKNOWN]})[0] == 1


def test_judge_without_any_looked_up_dependency_returns_2():
    code, message = judge({"dependencies": [UNKNOWN]})
    assert (code, "NOT AUDITED: 1 dependencies" in message) == (2, True)
    assert judge({"dependencies": []})[0] == 2


@pytest.mark.parametrize(("arguments", "code"), [([], 2), (["--allow-offline"], 0)])
def test_audit_that_returns_no_report_fails_unless_offline_is_allowed(monkeypatch, capsys, arguments, code):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    monkeypatch.setattr(sys, "argv", ["audit.py", *arguments])
    assert main() == code
    assert "NOT AUDITED" in capsys.readouterr().out
