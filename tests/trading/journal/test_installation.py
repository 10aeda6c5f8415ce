"""The identity of an installation, the detection of a restored database, and the slots of account numbers."""

import sqlite3
from pathlib import Path

import pytest
from django.db import connection, connections

from accounts.models import Account, BrokerConnection
from tests.support.makers import policy, simulated_account
from trading.journal.installation import (
    awaits_reconciliation,
    database_marker,
    detect_restore,
    installation,
    mark_reconciled,
)
from trading.journal.leases import claim_lease, release_lease
from trading.models import EventSource, Installation, Notification, Order, RebalanceRun, StrategyEvent
from trading.schedule.sweeper import sweep


@pytest.mark.django_db
def test_installation_id_is_made_once():
    first = installation()
    assert first.installation_id == installation().installation_id
    assert len(first.installation_id) == 6 and first.installation_id.isalnum()
    Installation.objects.all().delete()
    assert installation().installation_id != first.installation_id


@pytest.mark.django_db
def test_database_that_was_not_restored_awaits_nothing():
    assert (awaits_reconciliation(), detect_restore(), awaits_reconciliation()) == (False, False, False)
    assert Installation.objects.get().database_marker == database_marker() != ""
    assert (detect_restore(), Notification.objects.count()) == (False, 0)


@pytest.mark.django_db(transaction=True)
def test_sweep_notices_a_restored_table_and_reports_it_once():
    """The rows of a backup in a table of its own: what `pg_restore` leaves, and a copied file."""
    detect_restore()
    if connection.vendor == "postgresql":
        table = Installation._meta.db_table
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE TABLE restored (LIKE {table} INCLUDING ALL)")
            cursor.execute(f"INSERT INTO restored TABLE {table}")
            cursor.execute(f"DROP TABLE {table}")
            cursor.execute(f"ALTER TABLE restored RENAME TO {table}")
    else:
        path = connection.settings_dict["NAME"]
        connections.close_all()
        with sqlite3.connect(path) as source, sqlite3.connect(f"{path}.backup") as backup:
            source.backup(backup)
        for suffix in ("-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        Path(f"{path}.backup").rename(path)
    assert awaits_reconciliation(), "also before the first sweep"
    sweep()
    sweep()
    assert awaits_reconciliation()
    assert Notification.objects.get().title == "Database restored: trading is paused"
    mark_reconciled()
    assert not awaits_reconciliation() and not detect_restore()


# ---- client ids


def ibkr(account_id, **fields):
    return Account.objects.create(account_id=account_id, broker="ibkr", **fields)


@pytest.mark.django_db
def test_client_id_follows_from_the_account_number_alone():
    numbers = ["DU1000001", "DU1000002", "DU7", "DF42", "DI123456789"]
    first = {number: ibkr(number).connection.client_id for number in numbers}
    Account.objects.all().delete()
    BrokerConnection.objects.all().delete()
    ibkr("DU5000000")
    for number in reversed(numbers):
        assert ibkr(number).connection.client_id == first[number]


@pytest.mark.django_db
def test_client_ids_are_few_registered_and_unique_at_each_gateway():
    """A gateway takes 32 clients. U123 and DU123 are at different gateways, U123 and F123 share a connection."""
    for number in range(100):
        ibkr(f"DU10000{number:02}")
    assert BrokerConnection.objects.filter(broker="ibkr").count() == 8
    live, paper, other = ibkr("U123", type="live"), ibkr("DU123"), ibkr("F123", type="live")
    assert live.connection == other.connection != paper.connection
    assert live.connection.client_id == paper.connection.client_id
    assert simulated_account("S1", {}, policy=policy()).connection.client_id not in range(1001, 1009)


def old_slot(account, client_id=101):
    """Put the account into a slot as it was numbered before."""
    slot = BrokerConnection.objects.create(broker="ibkr", environment=account.type, client_id=client_id)
    Account.objects.filter(pk=account.pk).update(connection=slot)
    return slot


@pytest.mark.django_db
def test_sweep_moves_an_account_to_its_slot_once_nothing_is_open():
    account = ibkr("DU1000001")
    own, old = account.connection, old_slot(account)
    event = StrategyEvent.objects.create(
        source=EventSource.COMMAND, message_id="m", payload="{}", state="accepted", published_at="2026-11-24T15:00Z"
    )
    run = RebalanceRun.objects.create(account=account, event=event, connection=old, mode="execute", state="failed")
    order = Order.objects.create(
        run=run, account=account, sequence=1, client_order_id="rb-a-1", symbol="VTI", quantity=1, state="working"
    )

    def slot_after_a_sweep():
        sweep()
        account.refresh_from_db()
        return account.connection

    assert slot_after_a_sweep() == old, "only the client id that sent the order can cancel it"
    Order.objects.update(state="cancelled")
    RebalanceRun.objects.update(state="running")
    assert slot_after_a_sweep() == old, "the run is in progress"
    RebalanceRun.objects.update(state="completed")
    lease = claim_lease(old.pk, "a worker")
    assert slot_after_a_sweep() == old, "a worker has the slot"
    release_lease(lease)
    assert slot_after_a_sweep() == own
    assert order.run.connection == old
