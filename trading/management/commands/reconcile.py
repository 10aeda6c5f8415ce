"""`manage.py reconcile [RUN]`: settles orders whose fate is not known, by the broker's records."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from brokers.exceptions import BrokerError
from trading.engine.open_order_recovery import ended_runs_with_open_orders, recover_run_orders
from trading.errors import LeaseLost
from trading.management.progress import one_by_one

USAGE, UNSETTLED = 2, 1


class Command(BaseCommand):
    """Settles what runs have left behind."""

    help = "Looks for orders of ended runs whose fate is not known in the broker's records. Sends nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        """The command line."""
        parser.add_argument("run", nargs="?", help="the run; all that have left orders behind when left out")

    def handle(self, *_: Any, **options: Any) -> None:
        """Settles them, and says what became of each order."""
        runs = ended_runs_with_open_orders()
        if options["run"]:
            runs = [run for run in runs if run.run_id == options["run"]]
            if not runs:
                raise CommandError(f"Run {options['run']!r} has left no order behind.", returncode=USAGE)
        unsettled = 0
        for run in one_by_one(runs, "Settling", options.get("stderr") or sys.stderr):
            try:
                orders = recover_run_orders(run)
            except (BrokerError, LeaseLost, BlockingIOError) as trouble:
                raise CommandError(f"Run {run.run_id}: {trouble}", returncode=UNSETTLED) from trouble
            for order in orders:
                words = f": {order.message}" if order.message else ""
                self.stdout.write(f"{run.run_id} {order.client_order_id} {order.symbol} {order.state}{words}")
                unsettled += not order.is_resolved
        if not runs:
            self.stdout.write("No order was left behind.")
        if unsettled:
            raise CommandError(f"{unsettled} orders are still not settled. Look at the broker.", returncode=UNSETTLED)
