"""`manage.py reconcile [RUN]`: resolve orders with unknown status, and record orders without a row."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from brokers.exceptions import BrokerError
from trading.engine.account_reconciliation import accounts_to_reconcile, reconcile_account
from trading.engine.open_order_recovery import ended_runs_with_open_orders, recover_run_orders
from trading.errors import LeaseLost, SlotBusy
from trading.journal.installation import awaits_reconciliation, detect_restore, mark_reconciled, mark_restored
from trading.journal.orders import OrderView
from trading.management.lookup import USAGE
from trading.management.progress import with_progress
from trading.models import UnrecordedOrder

UNRESOLVED = 1


class Command(BaseCommand):
    help = (
        "Search the broker's records for orders of ended runs with unknown status, and record orders that have no row "
        "in this database. After a restore, read every enabled account. Submits nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("run", nargs="?", help="run id (default: all ended runs with open orders, and accounts)")
        parser.add_argument(
            "--restored",
            action="store_true",
            help="only mark the database as restored from a backup: no account trades until `reconcile` succeeds",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        if options["restored"]:
            mark_restored()
            self.stdout.write("The database is marked as restored. No account trades until `manage.py reconcile`.")
            return
        detect_restore()
        stderr = options.get("stderr") or sys.stderr
        unresolved = self._reconcile_accounts(stderr) if not options["run"] else 0
        unresolved += self._recover_runs(options["run"], stderr)
        if unresolved:
            message = f"Unresolved orders: {unresolved}. Check them at the broker, then use `manage.py resolve`."
            raise CommandError(message, returncode=UNRESOLVED)

    def _reconcile_accounts(self, stderr: Any) -> int:
        """Record the orders without a row, and end the pause after a restore. Return the number that is left."""
        was_restored = awaits_reconciliation()
        accounts = accounts_to_reconcile()
        for number, account in enumerate(accounts, 1):
            stderr.write(f"Reading account {account.account_id}, {number} of {len(accounts)}\n")
            try:
                orders = reconcile_account(account)
            except (BrokerError, LeaseLost, SlotBusy) as error:
                paused = " Trading stays paused." if was_restored else ""
                message = f"Account {account.account_id}: {error}{paused}"
                raise CommandError(message, returncode=UNRESOLVED) from error
            for order in orders:
                self._print(account.account_id, order)
        if was_restored:
            mark_reconciled()
            self.stdout.write(f"Reconciled accounts: {len(accounts)}. The pause after the restore has ended.")
        return UnrecordedOrder.objects.filter(account__in=accounts, resolved_at=None).count()

    def _recover_runs(self, run_id: str | None, stderr: Any) -> int:
        """Resolve the open orders of ended runs. Return the number that is left."""
        runs = ended_runs_with_open_orders()
        if run_id:
            runs = [run for run in runs if run.run_id == run_id]
            if not runs:
                raise CommandError(f"Run {run_id!r} has no open orders.", returncode=USAGE)
        unresolved = 0
        for run in with_progress(runs, "Reconciling", stderr):
            try:
                orders = recover_run_orders(run)
            except (BrokerError, LeaseLost, SlotBusy) as error:
                raise CommandError(f"Run {run.run_id}: {error}", returncode=UNRESOLVED) from error
            for order in orders:
                self._print(run.run_id, order)
                unresolved += not order.is_resolved
        if not runs:
            self.stdout.write("No ended run has open orders.")
        return unresolved

    def _print(self, subject: str, order: OrderView) -> None:
        message = f": {order.message}" if order.message else ""
        self.stdout.write(f"{subject} {order.client_order_id} {order.symbol} {order.state}{message}")
