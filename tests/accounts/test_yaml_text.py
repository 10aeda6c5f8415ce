"""What a YAML file means: text stays text until its field judges it, and every defect is one sentence with its place."""

from decimal import Decimal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.models import Account, ReplacementRule
from accounts.yaml.accounts_file import export_accounts, import_accounts
from accounts.yaml.reading import ImportRefused, parse_yaml
from accounts.yaml.replacement_sets_file import import_replacement_sets

MAX_KEY = 1024
"""Maximum length of a plain key of YAML, in characters."""
MAX_PROBLEM = 400
"""Maximum length of one problem, in characters, whatever it repeats."""


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "file.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def parse(text):
    return parse_yaml(text.encode(), "file.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "0123", "010", "00", "0o17", "0x1F", "0b11", "12:34", "1:30", "190:20:30", "1_000", "1e3", "1E3", "1.5e+3", ".5", "5.",
        "+5", "yes", "no", "Yes", "on", "off", "ON", "NO", "y", "n", "2026-02-30", "2026-11-28", "2026-11-28T10:00:00Z",
        ".inf", "-.inf", ".nan", "<<", "=", "none", "TRue", "1,5", "5 %", "9" * 5000, "1" * 19, "0." + "1" * 19, "--1",
    ],
)  # fmt: skip
def test_plain_scalar_that_other_readers_convert_stays_text(text):
    assert parse(f"a: {text}\n") == {"a": text}
    assert parse(f"- {text}\n") == [text]
    if len(text) < MAX_KEY:
        assert parse(f"{text}: 1\n") == {text: 1}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("1001", 1001),
        ("-5", -5),
        ("0.0", Decimal("0.0")),
        ("2.50", Decimal("2.50")),
        ("-0.25", Decimal("-0.25")),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("'0123'", "0123"),
        ('"on"', "on"),
        ("!!str 5", "5"),
        ("!!int 5", 5),
        ("!!float 1.5", Decimal("1.5")),
    ],
)
def test_plain_decimal_numbers_booleans_and_null_are_read(text, expected):
    found = parse(f"a: {text}\n")["a"]
    assert (found, type(found), str(found)) == (expected, type(expected), str(expected))


@pytest.mark.django_db
@pytest.mark.parametrize(
    "account_id", ["0123", "010", "1001", "12345678901234567890", "0x1F", "1_000", "1e3", "NO", "on", "2026-02-30"]
)
def test_account_id_is_imported_and_exported_as_it_is_written(file, account_id):
    import_accounts(file(f"accounts:\n- account_id: {account_id}\n"))
    assert Account.objects.get().account_id == account_id
    exported = export_accounts()
    assert import_accounts(file(exported)).unchanged == 1
    assert yaml.safe_load(exported)["accounts"][0]["account_id"] == account_id


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("reserve", "expected"),
    [
        ("2", "2"),
        ("2.5", "2.5"),
        (".5", "0.5"),
        ("5.", "5"),
        ("1e1", "10"),
        ("1.0e+1", "10"),
        ("1_0", "10"),
        ("'10'", "10"),
    ],
)
def test_reserve_in_every_usual_form_of_a_number_is_imported(file, reserve, expected):
    import_accounts(file(f"accounts:\n- {{account_id: A1, cash_reserve_percent: {reserve}}}\n"))
    assert Account.objects.get().cash_reserve_percent == Decimal(expected)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(
            ("cash_reserve_percent", value)
            for value in ("010", "'010'", "08", "0x1F", "0b11", "0o17", "1:30", "yes", "true", "off", "5%", "2026-11-28",
                          ".inf", ".nan", "1e400", "9" * 5000, "[5]", "''", "\u0665", "--5")
        ),
        *(("enabled", value) for value in ("maybe", "2", "0x1", "01", "[true]", "''", "null")),
        *(("account_id", value) for value in ("true", "[A1]", "{a: 1}", "null", "1.5", "12:34", "9" * 5000, "''")),
        *(("strategy_name", value) for value in ("false", "[s]", "12:34", "X" * 5000)),
        *(("broker", value) for value in ("true", "null", "X" * 5000)),
        *(("replacement_set", value) for value in ("true", "missing", "X" * 5000)),
        ("name", '"\\0"'),
        ("name", '"\\ud800"'),
        ("pdt_protection_enabled", "never"),
        ("X" * 5000, "1"),
        ("<<", "{enabled: true}"),
    ],
)  # fmt: skip
def test_value_that_its_field_cannot_have_is_refused_with_the_place(file, field, value):
    fields = {"account_id": "A1"} | {field: value}
    text = "accounts:\n" + "".join(
        f"  {'- ' if not n else '  '}{key}: {each}\n" for n, (key, each) in enumerate(fields.items())
    )
    with pytest.raises(ImportRefused) as caught:
        import_accounts(file(text))
    assert not Account.objects.exists()
    assert all(problem.startswith("file.yaml: ") and len(problem) < MAX_PROBLEM for problem in caught.value.problems)
    assert any(field[:9] in problem or ": line " in problem for problem in caught.value.problems)


@pytest.mark.django_db
@pytest.mark.parametrize("symbol", ["ON", "NO", "Y", "N", "YES"])
def test_symbol_that_other_readers_take_as_a_boolean_is_a_symbol(file, symbol):
    import_replacement_sets(file(f"s:\n- source: {symbol}\n  target: SPY\n  scale: 1\n"))
    assert ReplacementRule.objects.get().source == symbol


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"accounts:\n- account_id: " + b"[" * 3000, 2),
        (b"- " * 3000 + b"1", 1),
        (b"a:\n  " + b"{a: " * 3000, 2),
        (b"a: &a [1]\nb: *a\n", 2),
        (b"a: &a\n  b: *a\n", 2),
        (b"a: 1\nb: 2\na: 3\n", 3),
        (b"1: a\n'1': b\n", 2),
        (b"a: 1\n? [x, y]\n: 1\n", 2),
        (b"a: 1\nb: \xff\n", 2),
        (b"a: 1\nb: x\x00y\n", 2),
        (b'a: 1\nb: "x\\0y"\n', 2),
        (b'a: 1\nb: "\\ud800"\n', 2),
        (b"a: 1\nb: \x07\n", 2),
        ("a: 1\nb: 2\n".encode("utf-16"), 1),
        (b"a: 1\n\tb: 2\n", 2),
        (b"a: 'x\n\n\n", 4),
        (b"a: 1\n---\nb: 2\n", 2),
        (b"a: !!timestamp 2026-02-30\n", 1),
        (b"a: !!int 0123\n", 1),
        (b"a: !!bool 1\n", 1),
        (b"a: !!float 1:30\n", 1),
        (b"a: !!python/name:os.system x\n", 1),
        (b"a: !" + b"x" * 100_000 + b" 1\n", 1),
        (b"a: 1\n" + b"b" * 200_000 + b": 1\n" + b"b" * 200_000 + b": 1\n", 2),
    ],
)
def test_file_that_cannot_be_read_is_one_sentence_with_file_and_line(content, line):
    with pytest.raises(ImportRefused) as caught:
        parse_yaml(content, "file.yaml")
    (problem,) = caught.value.problems
    assert problem.startswith(f"file.yaml: line {line}: ") and problem.endswith(".")
    assert len(problem) < MAX_PROBLEM and "\n" not in problem


def test_byte_order_mark_is_ignored():
    assert parse_yaml(b"\xef\xbb\xbfa: 1\n", "file.yaml") == {"a": 1}


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40) | st.text("a1:-[]{}&*!|>'\"#%@`?,~<= \n\t\\0x", max_size=60).map(str.encode))
def test_any_file_is_content_or_one_refusal(content):
    try:
        parse_yaml(content, "file.yaml")
    except ImportRefused as refusal:
        assert refusal.problems[0].startswith("file.yaml: line ")


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=8), max_size=3))
def test_quoted_text_of_any_kind_is_read_as_written(content):
    text = yaml.safe_dump(content, allow_unicode=False, default_style='"')
    try:
        assert parse(text) == content
    except ImportRefused:
        assert "\x00" in text or "\\0" in text or "\\ud" in text.lower()
