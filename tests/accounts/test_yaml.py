"""Import and export of the YAML files of existing installations."""

from decimal import Decimal
from pathlib import Path

import pytest

from accounts.models import Account, ReplacementSet, Strategy
from accounts.yaml.accounts_file import export_accounts, import_accounts
from accounts.yaml.reading import ImportRefused
from accounts.yaml.replacement_sets_file import export_replacement_sets, import_replacement_sets
from brokers.simulated.models import SimulatedAccount

pytestmark = pytest.mark.django_db
DATA = Path(__file__).parents[1] / "e2e" / "data"


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "file.yaml"
        path.write_text(text)
        return path

    return write


def problems(importer, path):
    with pytest.raises(ImportRefused) as caught:
        importer(path)
    return "\n".join(caught.value.problems)


def test_existing_files_are_exported_exactly_as_imported():
    assert import_replacement_sets(DATA / "replacement-sets.yaml").created == 1
    assert import_accounts(DATA / "accounts.example.yaml").created == 3
    assert export_accounts() == (DATA / "accounts.example.yaml").read_text()
    assert export_replacement_sets() == (DATA / "replacement-sets.yaml").read_text()
    account = Account.objects.get(account_id="U777001")
    assert (account.type, account.broker, account.trade_guard) == ("live", "ibkr", "once_per_session")
    assert account.cash_reserve_percent == Decimal("2.5")
    assert account.live_armed is False
    assert account.replacement_set.rules.count() == 6
    assert Strategy.objects.get(name="etf-blend-103-20").source == "api"


def test_second_import_changes_nothing_and_writes_no_history():
    import_replacement_sets(DATA / "replacement-sets.yaml")
    import_accounts(DATA / "accounts.example.yaml")
    before = Account.history.count()
    report = import_accounts(DATA / "accounts.example.yaml")
    assert (report.created, report.changed, report.unchanged) == (0, 0, 3)
    assert import_replacement_sets(DATA / "replacement-sets.yaml").unchanged == 1
    assert Account.history.count() == before


def test_dry_run_changes_nothing():
    report = import_replacement_sets(DATA / "replacement-sets.yaml", dry_run=True)
    assert report.created == 1
    assert not ReplacementSet.objects.exists()


def test_export_and_import_restore_fields_of_the_new_format(file):
    import_accounts(
        file(
            "accounts:\n- {account_id: A1, broker: simulated, name: Mine, trade_guard: pdt_legacy, strategy_name: s}\n"
            "- {account_id: A2, broker: simulated, trade_guard: none, trading_paused: true}\n"
        )
    )
    before = list(
        Account.objects.order_by("account_id").values("account_id", "name", "trade_guard", "trading_paused", "broker")
    )
    exported = export_accounts()
    assert import_accounts(file(exported)).unchanged == 2
    Account.objects.all().delete()
    import_accounts(file(exported))
    after = list(
        Account.objects.order_by("account_id").values("account_id", "name", "trade_guard", "trading_paused", "broker")
    )
    assert after == before


def test_import_creates_simulated_records_once(file, settings):
    settings.SIMULATED_OPENING_CASH_USD = Decimal(5000)
    path = file("accounts:\n- {account_id: A1, broker: simulated}\n")
    import_accounts(path)
    SimulatedAccount.objects.filter(account_id="A1").update(cash_usd=7)
    import_accounts(path)
    assert SimulatedAccount.objects.get(account_id="A1").cash_usd == 7


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("accounts: 3", "`accounts` must be a list"),
        ("- 1", "`accounts` must be a list"),
        ("accounts:\n- {type: paper}", "entry 1 (without account_id): account_id"),
        ("accounts:\n- {account_id: A1, type: demo}", "entry 1 (A1): type"),
        ("accounts:\n- {account_id: A1, cash_reserve_percent: 100}", "cash_reserve_percent"),
        ("accounts:\n- {account_id: A1, cash_reserve_percent: .nan}", "cash_reserve_percent"),
        ("accounts:\n- {account_id: A1, surprise: 1}", "surprise"),
        ("accounts:\n- {account_id: A1, broker: nobody}", "Known brokers: ibkr, simulated"),
        ("accounts:\n- {account_id: A1, replacement_set: nothing}", "replacement_set"),
        ("accounts:\n- {account_id: A1, strategy_name: 'Not A Channel'}", "strategy_name"),
        ("accounts:\n- {account_id: 'A 1'}", "account_id"),
        ("accounts:\n- {account_id: A1}\n- {account_id: A1}", "appears 2 times"),
        ("accounts:\n- {account_id: A1, trade_guard: none, pdt_protection_enabled: true}", "contradict"),
        ("accounts:\n- {account_id: A1, account_id: A2}", "appears twice"),
        ("a: &a [1]\nb: *a", "aliases are not allowed"),
        ("accounts: [", "line 1"),
        ("accounts: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
    ],
)
def test_invalid_accounts_file_is_refused_with_the_place(file, text, expected):
    assert expected in problems(import_accounts, file(text))
    assert not Account.objects.exists()


def test_file_with_several_problems_lists_all_and_imports_nothing(file):
    text = "accounts:\n- {account_id: GOOD}\n- {account_id: A1, broker: x}\n- {account_id: A2, replacement_set: y}\n"
    found = problems(import_accounts, file(text))
    assert "entry 2 (A1): broker" in found and "entry 3 (A2): replacement_set" in found
    assert not Account.objects.exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- 1", "must contain sets"),
        ("s: 3", "set s"),
        ("s:\n- {source: A, target: B, scale: 0}", "scale"),
        ("s:\n- {source: A, target: B, scale: -1}", "scale"),
        ("s:\n- {source: a, target: B}", "source"),
        ("s:\n- {source: A, target: A}", "cycle"),
        ("s:\n- {source: A, target: B}\n- {source: B, target: C}\n- {source: C, target: A}", "A → B → C → A"),
        ("s:\n- {source: A, target: B}\n- {source: A, target: C}", "A appears 2 times"),
    ],
)
def test_invalid_replacement_sets_file_is_refused_with_the_place(file, text, expected):
    assert expected in problems(import_replacement_sets, file(text))
    assert not ReplacementSet.objects.exists()


def test_missing_file_is_refused(tmp_path):
    assert "cannot be read" in problems(import_accounts, tmp_path / "nothing.yaml")


def test_import_reads_standard_input(monkeypatch):
    import io
    import sys

    import_replacement_sets(DATA / "replacement-sets.yaml")
    content = io.BytesIO((DATA / "accounts.example.yaml").read_bytes())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(content))
    assert import_accounts(Path("-"), dry_run=True).created == 3
