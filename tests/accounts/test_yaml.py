"""Files of existing users, in and out."""

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


def test_the_files_of_existing_users_import_unchanged_and_come_out_as_they_went_in():
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


def test_a_second_import_changes_nothing_and_writes_no_history():
    import_replacement_sets(DATA / "replacement-sets.yaml")
    import_accounts(DATA / "accounts.example.yaml")
    before = Account.history.count()
    report = import_accounts(DATA / "accounts.example.yaml")
    assert (report.created, report.changed, report.unchanged) == (0, 0, 3)
    assert import_replacement_sets(DATA / "replacement-sets.yaml").unchanged == 1
    assert Account.history.count() == before


def test_a_dry_run_changes_nothing():
    report = import_replacement_sets(DATA / "replacement-sets.yaml", dry_run=True)
    assert report.created == 1
    assert not ReplacementSet.objects.exists()


def test_export_then_import_is_the_identity_for_what_the_old_files_cannot_say(file):
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


def test_a_simulated_account_gets_books_once(file, settings):
    settings.SIMULATED_OPENING_CASH_USD = Decimal(5000)
    path = file("accounts:\n- {account_id: A1, broker: simulated}\n")
    import_accounts(path)
    SimulatedAccount.objects.filter(account_id="A1").update(cash_usd=7)
    import_accounts(path)
    assert SimulatedAccount.objects.get(account_id="A1").cash_usd == 7


@pytest.mark.parametrize(
    ("text", "said"),
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
        ("accounts:\n- {account_id: A1}\n- {account_id: A1}", "stands 2 times"),
        ("accounts:\n- {account_id: A1, trade_guard: none, pdt_protection_enabled: true}", "contradict"),
        ("accounts:\n- {account_id: A1, account_id: A2}", "stands twice"),
        ("a: &a [1]\nb: *a", "aliases are not allowed"),
        ("accounts: [", "line 1"),
        ("accounts: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
    ],
)
def test_what_is_wrong_with_an_accounts_file_is_said_where_it_is(file, text, said):
    assert said in problems(import_accounts, file(text))
    assert not Account.objects.exists()


def test_all_problems_are_listed_and_nothing_is_imported(file):
    text = "accounts:\n- {account_id: GOOD}\n- {account_id: A1, broker: x}\n- {account_id: A2, replacement_set: y}\n"
    said = problems(import_accounts, file(text))
    assert "entry 2 (A1): broker" in said and "entry 3 (A2): replacement_set" in said
    assert not Account.objects.exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- 1", "must name sets"),
        ("s: 3", "set s"),
        ("s:\n- {source: A, target: B, scale: 0}", "scale"),
        ("s:\n- {source: A, target: B, scale: -1}", "scale"),
        ("s:\n- {source: a, target: B}", "source"),
        ("s:\n- {source: A, target: A}", "circle"),
        ("s:\n- {source: A, target: B}\n- {source: B, target: C}\n- {source: C, target: A}", "A → B → C → A"),
        ("s:\n- {source: A, target: B}\n- {source: A, target: C}", "A stands 2 times"),
    ],
)
def test_what_is_wrong_with_a_replacement_sets_file_is_said_where_it_is(file, text, said):
    assert said in problems(import_replacement_sets, file(text))
    assert not ReplacementSet.objects.exists()


def test_a_missing_file_is_said(tmp_path):
    assert "cannot be read" in problems(import_accounts, tmp_path / "nothing.yaml")


def test_a_file_can_come_in_on_standard_input(monkeypatch):
    import io
    import sys

    import_replacement_sets(DATA / "replacement-sets.yaml")
    content = io.BytesIO((DATA / "accounts.example.yaml").read_bytes())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(content))
    assert import_accounts(Path("-"), dry_run=True).created == 3
