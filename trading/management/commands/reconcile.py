"""`manage.py reconcile [RUN]`: resolve orders with unknown status from the broker's records."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from brokers.exceptions import BrokerError
from trading.engine.open_order_recovery import ended_runs_with_open_orders, recover_run_orders
from trading.errors import LeaseLost, SlotBusy
from trading.management.lookup import USAGE
from trading.management.progress import with_progress

UNRESOLVED = 1


class Command(BaseCommand):
    help = "Search the broker's records for orders of ended runs with unknown status. Submits nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("run", nargs="?", help="run id (default: all ended runs with open orders)")

    def handle(self, *_: Any, **options: Any) -> None:
        runs = ended_runs_with_open_orders()
        if options["run"]:
            runs = [run for run in runs if run.run_id == options["run"]]
            if not runs:
                raise CommandError(f"Run {options['run']!r} has no open orders.", returncode=USAGE)
        unresolved = 0
        for run in with_progress(runs, "Reconciling", options.get("stderr") or sys.stderr):
            try:
                orders = recover_run_orders(run)
            except (BrokerError, LeaseLost, SlotBusy) as error:
                raise CommandError(f"Run {run.run_id}: {error}", returncode=UNRESOLVED) from error
            for order in orders:
                message = f": {order.message}" if order.message else ""
                self.stdout.write(f"{run.run_id} {order.client_order_id} {order.symbol} {order.state}{message}")
                unresolved += not order.is_resolved
        if not runs:
            self.stdout.write("No ended run has open orders.")
        if unresolved:
            message = f"Unresolved orders: {unresolved}. Check them at the broker, then use `manage.py resolve`."
            raise CommandError(message, returncode=UNRESOLVED)
