"""`manage.py settle ORDER|RUN`: a person settles what the broker's records could not."""

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from pydantic import ValidationError

from trading.actions.manual_resolution import Finding, Outcome, close_run, resolve_order
from trading.errors import Refused
from trading.models import Order, RebalanceRun

USAGE, REFUSED = 2, 3


class Command(BaseCommand):
    """Settles an order, or closes a run."""

    help = (
        "Settles an order of an ended run by hand, as the broker's statement has it; or closes a run that needed "
        "attention and has no open orders. Sends nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The command line."""
        parser.add_argument("what", metavar="ORDER|RUN", help="a client order id (rb-…-…), or a run to close")
        parser.add_argument("--user", required=True, help="who has looked; needs the right to settle orders")
        parser.add_argument("--comment", required=True, help="how they know; kept in the audit trail")
        outcome = parser.add_mutually_exclusive_group()
        outcome.add_argument("--filled", metavar="SHARES", help="so many shares were filled and are not recorded yet")
        outcome.add_argument("--cancelled", action="store_true", help="it has ended, and nothing more was filled")
        outcome.add_argument("--never-arrived", action="store_true", help="the broker never had it")
        parser.add_argument("--price", metavar="USD", help="of --filled")
        parser.add_argument("--commission", metavar="USD", default="0", help="of --filled, in all (0)")
        parser.add_argument("--day", metavar="YYYY-MM-DD", help="of --filled, if not the day on which it was sent")
        parser.add_argument("--confirm", metavar="ACCOUNT", default="", help="of a live account, its number")

    def handle(self, *_: Any, **options: Any) -> None:
        """Settles it, and says what holds now."""
        person = User.objects.filter(username=options["user"], is_active=True).first()
        if person is None:
            raise CommandError(f"There is no active user {options['user']!r}.", returncode=USAGE)
        try:
            self.stdout.write(self._settle(person, options))
        except Refused as refusal:
            raise CommandError(f"{refusal.code}: {refusal.message}", returncode=REFUSED) from refusal

    def _settle(self, person: User, options: dict[str, Any]) -> str:
        run = RebalanceRun.objects.select_related("account").filter(run_id=options["what"]).first()
        if run is not None:
            close_run(run, person, options["comment"])
            return f"Run {run.run_id} is closed."
        orders = Order.objects.select_related("run", "account")
        order = orders.filter(client_order_id=options["what"]).first()
        if order is None:
            raise CommandError(f"There is no order and no run {options['what']!r}.", returncode=USAGE)
        # Who has a shell on this host needs no code: the rights of the user are what counts.
        settled = resolve_order(
            order, person, _finding(options), options["comment"], typed_account_id=options["confirm"], code=None
        )
        return f"{settled.client_order_id} {settled.symbol} {settled.state}"


def _finding(options: dict[str, Any]) -> Finding:
    if options["cancelled"] or options["never_arrived"]:
        return Finding(outcome=Outcome.CANCELLED if options["cancelled"] else Outcome.NEVER_ARRIVED)
    if options["filled"] is None or options["price"] is None:
        raise CommandError("Say --filled SHARES --price USD, --cancelled, or --never-arrived.", returncode=USAGE)
    told = {
        "outcome": Outcome.FILLED,
        "shares": options["filled"],
        "price_usd": options["price"],
        "commission_usd": options["commission"],
        "day": options["day"],
    }
    try:
        return Finding.model_validate(told)
    except ValidationError as error:
        words = "; ".join(f"{problem['loc'][0]}: {problem['msg']}" for problem in error.errors())
        raise CommandError(words, returncode=USAGE) from error
