"""`manage.py resolve ORDER|RUN`: resolve an order or close a run manually."""

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from pydantic import ValidationError

from trading.actions.manual_resolution import Outcome, Resolution, acknowledge_order, close_run, resolve_order
from trading.errors import Refused
from trading.management.lookup import REFUSED, USAGE, find_user
from trading.models import Order, RebalanceRun, UnrecordedOrder


class Command(BaseCommand):
    help = (
        "Resolve an open order of an ended run manually, according to the broker's statement, or close a run that "
        "needs attention and has no open orders. An order without a row is acknowledged. Submits nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("what", metavar="ORDER|RUN", help="client order id (rb-…-…), or run id to close")
        parser.add_argument("--user", required=True, help="user with the permission to resolve orders")
        parser.add_argument("--comment", required=True, help="how the outcome is known; stored in the audit trail")
        outcome = parser.add_mutually_exclusive_group()
        outcome.add_argument("--filled", metavar="SHARES", help="filled shares that are not recorded yet")
        outcome.add_argument("--cancelled", action="store_true", help="ended; nothing more was filled")
        outcome.add_argument("--never-arrived", action="store_true", help="the broker never received it")
        parser.add_argument("--price", metavar="USD", help="price of --filled")
        parser.add_argument("--commission", metavar="USD", default="0", help="total commission of --filled (0)")
        parser.add_argument("--day", metavar="YYYY-MM-DD", help="day of --filled (the day on which it was sent)")
        parser.add_argument("--confirm", metavar="ACCOUNT", default="", help="account number; needed if it is live")

    def handle(self, *_: Any, **options: Any) -> None:
        user = find_user(options["user"])
        try:
            self.stdout.write(_resolve(user, options))
        except Refused as refusal:
            raise CommandError(f"{refusal.code}: {refusal.message}", returncode=REFUSED) from refusal


def _resolve(user: User, options: dict[str, Any]) -> str:
    run = RebalanceRun.objects.select_related("account").filter(run_id=options["what"]).first()
    if run is not None:
        close_run(run, user, options["comment"])
        return f"Run {run.run_id} is closed."
    order = Order.objects.select_related("run", "account").filter(client_order_id=options["what"]).first()
    if order is None and (unrecorded := UnrecordedOrder.objects.filter(client_order_id=options["what"]).first()):
        acknowledge_order(unrecorded, user, options["comment"])
        return f"{unrecorded} is acknowledged; it has no row, and no guard counts it."
    if order is None:
        raise CommandError(f"There is no order or run {options['what']!r}.", returncode=USAGE)
    # No two-factor code: access to the shell of this host and the permissions of the user are sufficient.
    resolved = resolve_order(
        order, user, _resolution(options), options["comment"], typed_account_id=options["confirm"], code=None
    )
    return f"{resolved.client_order_id} {resolved.symbol} {resolved.state}"


def _resolution(options: dict[str, Any]) -> Resolution:
    if options["cancelled"] or options["never_arrived"]:
        return Resolution(outcome=Outcome.CANCELLED if options["cancelled"] else Outcome.NEVER_ARRIVED)
    if options["filled"] is None or options["price"] is None:
        raise CommandError("Specify --filled SHARES --price USD, --cancelled, or --never-arrived.", returncode=USAGE)
    fields = {"shares": "filled", "price_usd": "price", "commission_usd": "commission", "day": "day"}
    values = {field: options[option] for field, option in fields.items()}
    try:
        return Resolution.model_validate({"outcome": Outcome.FILLED, **values})
    except ValidationError as error:
        problems = "; ".join(f"{problem['loc'][0]}: {problem['msg']}" for problem in error.errors())
        raise CommandError(problems, returncode=USAGE) from error
