import csv

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.views.decorators.http import require_GET

from trading.actions.previews import VIEW_PERMISSION
from trading.models import RebalanceRun, RunMode
from trading.pages.permissions import require_permission
from trading.pages.run_page import find_run
from trading.pages.run_report import slippage_bps
from trading.serializers import plain_decimal, rebalance_result

PLAN = ("symbol", "quantity", "order_type", "limit_price_usd", "reason", "detail")
ORDERS = (
    "symbol",
    "quantity",
    "filled_quantity",
    "limit_price_usd",
    "quote_usd",
    "average_price_usd",
    "slippage_bps",
    "commission_usd",
    "state",
    "client_order_id",
    "message",
)


@require_GET
@require_permission(VIEW_PERMISSION)
def run_csv(request: HttpRequest, run_id: str) -> HttpResponseBase:  # noqa: ARG001 - Django's signature
    """Return the trades of a preview, or the orders of a run, as CSV."""
    run = find_run(run_id)
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    _name(response, run, "csv")
    rows = csv.writer(response)
    if run.mode == RunMode.PREVIEW:
        rows.writerow(PLAN)
        rows.writerows(
            (
                trade["symbol"],
                trade["quantity"],
                trade["order_type"],
                plain(trade["price"]),
                trade["reason"],
                trade["detail"],
            )
            for trade in run.result.get("trades", [])
        )
        return response
    rows.writerow(ORDERS)
    for order in run.orders.order_by("sequence"):
        slippage = slippage_bps(order)
        computed = {
            "quantity": plain(order.quantity, 0),
            "filled_quantity": plain(order.filled_quantity, 0),
            "limit_price_usd": plain(order.limit_price_usd),
            "quote_usd": plain(order.decision_price_usd),
            "average_price_usd": plain(order.average_price_usd),
            "commission_usd": plain(order.commission_usd),
            "slippage_bps": "" if slippage is None else f"{slippage:.2f}",
        }
        rows.writerow(computed[name] if name in computed else getattr(order, name) for name in ORDERS)
    return response


@require_GET
@require_permission(VIEW_PERMISSION)
def run_json(request: HttpRequest, run_id: str) -> HttpResponseBase:  # noqa: ARG001 - Django's signature
    """Return the run as JSON, as `rebalance --json` prints it."""
    run = find_run(run_id)
    response = HttpResponse(rebalance_result(run).model_dump_json(indent=2), content_type="application/json")
    _name(response, run, "json")
    return response


def plain(value: object, places: int = 2) -> str:
    """Return a number for a spreadsheet, with at least these decimals and without an exponent; "" for none."""
    number = plain_decimal(value, places)
    return "" if number is None else f"{number:f}"


def _name(response: HttpResponse, run: RebalanceRun, ending: str) -> None:
    response["Content-Disposition"] = f'attachment; filename="{run.account.account_id}-{run.run_id}.{ending}"'
