"""`manage.py rebalance ACCOUNT`: preview an account or, with `--exec rebalance`, rebalance it in this process."""

import sys
import time
import uuid
from contextlib import nullcontext
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from trading.engine.slot_worker import work_slot
from trading.errors import EventRejected
from trading.inbox.receive import request_run
from trading.management.lookup import REFUSED, USAGE, find_account
from trading.management.progress import RunProgress
from trading.management.text_output import run_text
from trading.models import EventSource, RebalanceRun, RunOutcome, RunState
from trading.models.run_documents import ExecCommand
from trading.notify.deliver import deliver_due
from trading.serializers import rebalance_result

COMPLETED, FAILED = 0, 1
EXIT_CODES: dict[str, int] = {
    RunOutcome.DONE: COMPLETED,
    RunOutcome.NOTHING_TO_DO: COMPLETED,
    RunOutcome.REFUSED: REFUSED,
    RunOutcome.DEFERRED: REFUSED,
    RunState.COMPLETED: COMPLETED,
    RunState.SUPERSEDED: REFUSED,
    RunState.QUEUED: COMPLETED,  # left to the workers with `--no-wait`
}
"""Exit codes by the outcome of the run, or by its state while it has none."""
POLL_SECONDS = 0.25


class Command(BaseCommand):
    help = "Preview an account or, with --exec rebalance, rebalance it. Does not need a worker."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("account", help="account id")
        parser.add_argument(
            "--exec",
            dest="command",
            default=ExecCommand.PRINT_REBALANCE.value,
            choices=[command.value for command in ExecCommand],
            help="action (default: print-rebalance)",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        parser.add_argument("--no-wait", action="store_true", help="leave the run to the workers")
        parser.add_argument("--timeout", type=float, default=3600, metavar="SECONDS", help="maximum wait (3600)")

    def handle(self, *_: Any, **options: Any) -> None:
        """Request the run, and execute it under the same lease as a worker."""
        account = find_account(options["account"])
        try:
            command, message_id = ExecCommand(options["command"]), f"command-{uuid.uuid4()}"
            run = request_run(account, command, source=EventSource.COMMAND, message_id=message_id)
        except EventRejected as rejection:
            raise CommandError(f"{rejection.code}: {rejection.message}", returncode=USAGE) from rejection
        if not options["no_wait"]:
            stream = options.get("stderr") or sys.stderr
            with nullcontext() if options["json"] and not stream.isatty() else RunProgress(run, stream):
                _execute(run, options["timeout"])
            deliver_due()
        run.refresh_from_db()
        self.stdout.write(rebalance_result(run).model_dump_json() if options["json"] else run_text(run))
        if code := EXIT_CODES.get(run.outcome or run.state, FAILED):
            raise SystemExit(code)


def _execute(run: RebalanceRun, timeout_seconds: float) -> None:
    """Work the run's slot, or wait while another process does, until the run has ended or is deferred."""
    until = time.monotonic() + timeout_seconds
    while time.monotonic() < until:
        worked = run.state in {RunState.QUEUED, RunState.RUNNING} and work_slot(run.connection_id)
        run.refresh_from_db()
        if run.state not in {RunState.QUEUED, RunState.RUNNING}:
            return
        if not worked:
            time.sleep(POLL_SECONDS)  # the database sends no notification
    raise CommandError(
        f"Run {run.run_id} is still {run.state} after {timeout_seconds:g} seconds. See `manage.py runs`."
    )
