"""`manage.py publish_event STRATEGY`: create an event as if it came from Ably."""

import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from trading.inbox.receive import receive_event
from trading.models import EventSource, EventState
from trading.models.run_documents import ExecCommand

REJECTED = 2


class Command(BaseCommand):
    help = "Create an event as if it came from Ably. Workers execute its runs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("strategy", help="name of the strategy, which is also its channel")
        parser.add_argument(
            "--exec",
            dest="command",
            default=ExecCommand.PRINT_REBALANCE.value,
            help="rebalance or print-rebalance (default: print-rebalance)",
        )
        parser.add_argument("--account-id", help="account id (default: all accounts of the strategy)")
        parser.add_argument("--message-id", help="message id; repeating one has no effect")

    def handle(self, *_: Any, **options: Any) -> None:
        payload = {"exec": options["command"]}
        if options["account_id"] is not None:
            payload["account_id"] = options["account_id"]
        message_id = options["message_id"]
        if message_id is None:
            message_id = f"manual-{uuid.uuid4()}"
        elif not message_id.strip():  # a new id for each call would repeat the rebalance
            raise CommandError(
                "--message-id is empty. Leave it out, or give the id of the message.", returncode=REJECTED
            )
        event = receive_event(
            source=EventSource.ABLY, channel=options["strategy"], message_id=message_id, payload=payload
        )
        if event.state == EventState.REJECTED:
            raise CommandError(f"{event.reason_code}: {event.reason}", returncode=REJECTED)
        runs = ", ".join(f"{run.account.account_id}: {run.run_id}" for run in event.runs.select_related("account"))
        duplicates = f" (came {event.duplicates + 1} times)" if event.duplicates else ""
        self.stdout.write(f"Event {event.pk} {event.state}{duplicates}. Runs: {runs}")
