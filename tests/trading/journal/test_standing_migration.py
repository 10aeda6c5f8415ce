"""The migration to standings with a state: nothing is claimed that was not compared, and older processes can write."""

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

pytestmark = pytest.mark.django_db(transaction=True)

BEFORE, AFTER = "0017_access_protection", "0018_standing_states"
OLD_COLUMNS = "account_id, seen_at, total_value_usd, cash_usd, largest_drift_percent, is_outside, weights"


def migrate(name):
    executor = MigrationExecutor(connection)
    targets = [("trading", name)] if name else executor.loader.graph.leaf_nodes()
    executor.migrate(targets)
    return MigrationExecutor(connection).loader.project_state(targets).apps


@pytest.fixture
def old_tables():
    yield migrate(BEFORE)
    migrate(None)


def make_accounts(apps, count):
    slot, _ = apps.get_model("accounts", "BrokerConnection").objects.get_or_create(
        broker="simulated", environment="paper", client_id=7
    )
    accounts = apps.get_model("accounts", "Account").objects
    return [accounts.create(account_id=f"M{n}", broker="simulated", connection=slot).pk for n in range(count)]


def test_migration_claims_no_state_and_accepts_rows_of_older_processes(old_tables):
    first, second, third = make_accounts(old_tables, 3)
    old = old_tables.get_model("trading", "AccountStanding").objects
    fields = {"seen_at": timezone.now(), "total_value_usd": 100, "cash_usd": 5}
    old.create(account_id=first, is_outside=False, largest_drift_percent=1, **fields)
    old.create(account_id=second, **fields)
    rows = migrate(AFTER).get_model("trading", "AccountStanding").objects
    with connection.cursor() as cursor:
        values = [third, fields["seen_at"], 100, 5, 1, False, "[]"]
        places = ", ".join(["%s"] * len(values))
        cursor.execute(f"INSERT INTO trading_accountstanding ({OLD_COLUMNS}) VALUES ({places})", values)  # noqa: S608
        cursor.execute("UPDATE trading_accountstanding SET is_outside = %s, seen_at = %s", [True, fields["seen_at"]])
    assert {row.state for row in rows.all()} == {"unknown"}
    assert {row.reason_code for row in rows.filter(account_id__in=[first, second])} == {"never_compared"}
    assert rows.get(account_id=first).largest_drift_percent is None
    assert {row.as_of for row in rows.all()} == {fields["seen_at"]}
