"""`manage.py approvals [list|approve|decline] [RUN]`: list, approve or decline the plans that wait for a user."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from calculator.formats import money, percent
from trading.actions.approvals import decline_plan, refuse_unless_waiting, waiting_plan, waiting_plans
from trading.actions.previews import execute_preview
from trading.common.formats import new_york_time
from trading.errors import EventRejected, Refused
from trading.management.lookup import REFUSED, USAGE
from trading.management.text_output import run_text
from trading.models import EventSource, RebalanceRun, RunState
from trading.serializers import rebalance_result


class Command(BaseCommand):
    help = "List the plans that wait for approval, approve one for the workers to execute, or decline one."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "action", nargs="?", default="list", choices=("list", "approve", "decline"), help="what to do (list)"
        )
        parser.add_argument("run", nargs="?", help="run id; required for approve and decline")
        parser.add_argument("--note", default="", metavar="TEXT", help="reason, stored with the answer")
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *_: Any, **options: Any) -> None:
        """List the plans, or answer one: no user is asked, as access to the shell of this host is sufficient."""
        if options["action"] == "list":
            self._list(as_json=options["json"])
            return
        if options["run"] is None:
            raise CommandError(f"`approvals {options['action']}` requires a run id.", returncode=USAGE)
        plan = RebalanceRun.objects.select_related("account", "event").filter(run_id=options["run"]).first()
        if plan is None:
            raise CommandError(f"unknown_run: There is no run {options['run']!r}.", returncode=USAGE)
        answer = _approve if options["action"] == "approve" else _decline
        try:
            run = answer(plan, options["note"])
        except (Refused, EventRejected) as refusal:
            raise CommandError(f"{refusal.code}: {refusal.message}", returncode=REFUSED) from refusal
        self.stdout.write(rebalance_result(run).model_dump_json() if options["json"] else run_text(run))
        if options["action"] == "approve" and run.state == RunState.REFUSED:
            raise SystemExit(REFUSED)

    def _list(self, *, as_json: bool) -> None:
        plans = [waiting_plan(plan) for plan in waiting_plans()]
        if as_json:
            self.stdout.write(json.dumps([plan.model_dump(mode="json") for plan in plans]))
            return
        for plan in plans:
            self.stdout.write(
                f"{plan.run_id}  {plan.account_id}  {plan.strategy}  sells {plan.sells} ({money(plan.sell_value)})  "
                f"buys {plan.buys} ({money(plan.buy_value)})  turnover {percent(plan.turnover_percent)}  "
                f"until {new_york_time(plan.approval_until)}"
            )
            for reason in plan.reasons:
                self.stdout.write(f"  {reason.code}: {reason.message}")
        if not plans:
            self.stdout.write("No plan waits for approval.")


def _approve(plan: RebalanceRun, note: str) -> RebalanceRun:
    if not hasattr(plan, "execution"):  # a repeated command returns the same run
        refuse_unless_waiting(plan)
    return execute_preview(plan, None, plan_hash=plan.plan_hash, source=EventSource.COMMAND, note=note)


def _decline(plan: RebalanceRun, note: str) -> RebalanceRun:
    return decline_plan(plan, None, note)
