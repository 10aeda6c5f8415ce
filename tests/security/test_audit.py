"""What the audit of the dependencies says, and that it is never silent."""

from tools.audit import judge

WELL = {"name": "a", "version": "1", "vulns": []}
WEAK = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}
UNKNOWN = {"name": "c", "skip_reason": "Dependency not found on PyPI"}


def test_nothing_known():
    assert judge({"dependencies": [WELL]}) == (0, "1 of 1 dependencies looked up, 0 with known weaknesses.")


def test_a_known_weakness_ends_with_1_and_is_named():
    code, words = judge({"dependencies": [WELL, WEAK]})
    assert (code, "b 2: PYSEC-1, fixed in 3" in words) == (1, True)


def test_what_could_not_be_asked_is_said_loudly():
    code, words = judge({"dependencies": [WELL, UNKNOWN]})
    assert (code, "NOT AUDITED: 1 dependencies" in words, "1 of 2" in words) == (0, True, True)
    assert judge({"dependencies": [WEAK, UNKNOWN]})[0] == 1
