"""Manual resolution of orders and runs."""

from datetime import timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.db.models import F
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import Account, BrokerConnection
from brokers.simulated.models import SimulatedExecution, SimulatedOrder
from tests.support.makers import carry_out, held
from tests.support.two_factor import new_device
from trading import tasks
from trading.access.roles import sync_roles
from trading.actions.manual_resolution import Outcome, Resolution, close_run, resolve_order
from trading.errors import Refused
from trading.guards.trade_guard.history import executed_since
from trading.journal import leases
from trading.market_calendar import market_calendar
from trading.models import AuditEntry, Fill, Notification, Order, RebalanceRun, SeenExecution

pytestmark = pytest.mark.django_db(transaction=True)
COMMENT = "Statement of 2026-11-24, page 2"


@pytest.fixture
def make_user(transactional_db):
    sync_roles()

    def make(role):
        user, new = User.objects.get_or_create(username=role, defaults={"is_staff": True})
        if new:
            user.groups.add(Group.objects.get(name=role))
        return user

    return make


@pytest.fixture
def unknown(make_account):
    """An order with unknown status that the broker has filled."""
    run = carry_out(make_account())
    order = run.orders.get(symbol="SPY")
    forget(order)
    RebalanceRun.objects.filter(pk=run.pk).update(state="needs_attention", error_code="orders_unknown")
    Notification.objects.all().delete()
    return Order.objects.select_related("run", "account").get(pk=order.pk)


def forget(order, **fields):
    Fill.objects.filter(order=order).delete()
    clean = {"state": "unknown", "filled_quantity": 0, "average_price_usd": None, "commission_usd": 0}
    Order.objects.filter(pk=order.pk).update(**clean | {"broker_order_id": "", "finished_at": None} | fields)


def filled(order, shares=None):
    return Resolution(
        outcome=Outcome.FILLED,
        shares=order.shares if shares is None else Decimal(shares),
        price_usd=Decimal("650.25"),
        commission_usd=Decimal("1.05"),
    )


def is_unchanged(order):
    now = Order.objects.select_related("run").get(pk=order.pk)
    quiet = not AuditEntry.objects.filter(action="resolved an order").exists() and not Fill.objects.filter(order=now)
    return now.state == order.state and quiet


def test_resolve_order_as_filled_books_the_fill_closes_the_run_and_unblocks_the_account(unknown, make_user):
    # Sent yesterday: the broker no longer has records of it.
    Order.objects.filter(pk=unknown.pk).update(submitted_at=timezone.now() - timedelta(days=1))
    SimulatedOrder.objects.filter(symbol="SPY").update(client_order_id="of-yesterday")
    assert carry_out(unknown.account).error_code == "orders_unknown"
    resolve_order(unknown, make_user("trader"), filled(unknown), COMMENT)
    order = Order.objects.get(pk=unknown.pk)
    assert (order.state, order.filled_quantity, order.average_price_usd, order.commission_usd) == (
        "filled",
        order.quantity,
        Decimal("650.25"),
        Decimal("1.05"),
    )
    fill = order.fills.get()
    assert (fill.quantity, fill.execution_id) == (order.quantity, f"by-hand-{order.client_order_id}")
    run = RebalanceRun.objects.get(pk=order.run_id)
    assert (run.state, run.error_code) == ("failed", "resolved_manually")
    assert COMMENT in run.error_message and "trader" in run.error_message
    assert COMMENT in " ".join(run.timeline.values_list("message", flat=True))
    entry = AuditEntry.objects.get(action="resolved an order")
    assert entry.person == "trader" and COMMENT in entry.detail and "filled at $650.25" in entry.detail
    assert Notification.objects.filter(title__startswith="Rebalance resolved manually").count() == 1
    assert carry_out(unknown.account).state == "completed"
    assert held("U1")["SPY"] == order.quantity, "the order was not sent again"


@pytest.mark.parametrize(
    ("values", "state", "shares"),
    [
        ({"outcome": "filled", "shares": 3, "price_usd": 650}, "cancelled", 3),
        ({"outcome": "cancelled"}, "cancelled", 0),
        ({"outcome": "never_arrived"}, "lost", 0),
    ],
)
def test_resolve_order_with_each_outcome_sets_its_final_state(unknown, make_user, values, state, shares):
    order = resolve_order(unknown, make_user("trader"), Resolution.model_validate(values), COMMENT)
    assert (order.state, order.filled_quantity, COMMENT in order.message) == (state, shares, True)
    assert order.finished_at is not None
    assert RebalanceRun.objects.get(pk=order.run_id).state == "failed"


def test_resolve_order_with_recorded_fills_books_only_the_rest(unknown, make_user):
    Fill.objects.create(
        order=unknown, execution_id="x-1", quantity=2, price_usd=649, commission_usd=1, executed_at=timezone.now()
    )
    Order.objects.update(filled_quantity=2)
    order = resolve_order(unknown, make_user("trader"), filled(unknown, unknown.shares - 2), COMMENT)
    assert (order.state, order.filled_quantity, order.commission_usd) == ("filled", order.quantity, Decimal("2.05"))


@pytest.mark.parametrize("entered", [3, None])
def test_executions_that_the_broker_reports_later_replace_the_fill_entered_manually(unknown, make_user, entered):
    shares = unknown.shares if entered is None else Decimal(entered)
    resolve_order(unknown, make_user("trader"), filled(unknown, shares), COMMENT)
    store_seen_executions(unknown)
    assert counted(unknown) == unknown.quantity, "the trade guard counts each share once"
    run = carry_out(unknown.account)
    assert (run.state, run.error_message) == ("completed", "")
    order = Order.objects.get(pk=unknown.pk)
    executions = SimulatedExecution.objects.filter(order__client_order_id=order.client_order_id)
    reported = {(str(one.execution_id), one.quantity, one.price_usd) for one in executions}
    assert {(fill.execution_id, fill.quantity, fill.price_usd) for fill in order.fills.all()} == reported
    assert (order.state, order.filled_quantity) == ("filled", order.quantity)
    assert (order.average_price_usd != Decimal("650.25"), counted(order)) == (True, order.quantity)
    assert order.run.timeline.filter(code="fill_replaced").count() == 1
    assert f"{shares.normalize():f} filled at $650.25" in AuditEntry.objects.get(action="resolved an order").detail
    assert held("U1")["SPY"] == order.quantity


def test_executions_that_replace_a_manual_fill_are_looked_for_without_a_run(unknown, make_user):
    resolve_order(unknown, make_user("trader"), filled(unknown, 3), COMMENT)
    tasks.recover_open_orders()
    order = Order.objects.get(pk=unknown.pk)
    assert (order.state, order.filled_quantity) == ("filled", order.quantity)
    assert not any(fill.is_manual for fill in order.fills.all())


def store_seen_executions(order):
    """Store what the trade guard has read from the broker before the order's row is updated."""
    for one in SimulatedExecution.objects.filter(order__client_order_id=order.client_order_id):
        SeenExecution.objects.create(
            account=order.account,
            execution_id=str(one.execution_id),
            symbol=order.symbol,
            quantity=one.quantity,
            price_usd=one.price_usd,
            executed_at=one.executed_at,
            session_date=market_calendar().session_of(one.executed_at).day,
            client_order_id=order.client_order_id,
        )


def counted(order):
    session = market_calendar().session_of(timezone.now())
    trades = executed_since(order.account_id, session.day, market_calendar())
    return sum(trade.quantity for trade in trades if trade.symbol == order.symbol)


def test_resolve_order_closes_the_run_with_its_last_open_order(unknown, make_user):
    other = unknown.run.orders.get(symbol="IEF")
    forget(other)
    other.refresh_from_db()
    resolve_order(unknown, make_user("trader"), filled(unknown), COMMENT)
    assert RebalanceRun.objects.get(pk=unknown.run_id).state == "needs_attention"
    with pytest.raises(Refused) as refusal:
        close_run(RebalanceRun.objects.get(pk=unknown.run_id), make_user("trader"), COMMENT)
    assert refusal.value.code == "orders_not_resolved"
    resolve_order(other, make_user("trader"), filled(other), COMMENT)
    assert RebalanceRun.objects.get(pk=unknown.run_id).state == "failed"


def user_without_permission(order):
    return "operator"


def run_in_progress(order):
    RebalanceRun.objects.filter(pk=order.run_id).update(state="running")


def resolved_order_state(order):
    Order.objects.filter(pk=order.pk).update(state="rejected")


def busy_slot(order):
    leases.claim_lease(order.run.connection_id, "a worker")


def acknowledged_order(order):
    Order.objects.filter(pk=order.pk).update(broker_order_id="17")


def reported_shares(order):
    Order.objects.filter(pk=order.pk).update(filled_quantity=5)


NEVER = Resolution(outcome=Outcome.NEVER_ARRIVED)


@pytest.mark.parametrize(
    ("spoil", "resolution", "comment", "code", "reason"),
    [
        (user_without_permission, NEVER, COMMENT, "not_permitted", "trading.resolve_order"),
        (None, NEVER, "  ", "comment_missing", "comment"),
        (run_in_progress, NEVER, COMMENT, "run_not_finished", "in progress"),
        (resolved_order_state, NEVER, COMMENT, "order_already_resolved", "already resolved"),
        (busy_slot, NEVER, COMMENT, "connection_busy", "Try again in a moment"),
        (acknowledged_order, NEVER, COMMENT, "inconsistent_resolution", "acknowledged"),
        (reported_shares, Resolution(outcome="cancelled"), COMMENT, "inconsistent_resolution", "reported 5"),
        (None, Resolution(outcome="filled"), COMMENT, "inconsistent_resolution", "enter the filled shares"),
        (None, Resolution(outcome="filled", shares=1), COMMENT, "inconsistent_resolution", "their price"),
        (None, Resolution(outcome="cancelled", shares=1), COMMENT, "inconsistent_resolution", "has no filled shares"),
        (None, Resolution(outcome="filled", shares=9999, price_usd=1), COMMENT, "inconsistent_resolution", "more than"),
        (
            None,
            Resolution(outcome="filled", shares=1, price_usd=1, day=timezone.localdate() + timedelta(days=3)),
            COMMENT,
            "inconsistent_resolution",
            "cannot have been filled",
        ),
    ],
)
def test_resolve_order_that_is_not_allowed_is_refused_and_changes_nothing(
    unknown, make_user, spoil, resolution, comment, code, reason
):
    role = (spoil(unknown) if spoil else None) or "trader"
    order = Order.objects.select_related("run", "account").get(pk=unknown.pk)
    with pytest.raises(Refused, match=reason) as refusal:
        resolve_order(order, make_user(role), resolution, comment)
    assert refusal.value.code == code
    assert is_unchanged(order)


def test_resolve_order_with_a_lost_lease_changes_nothing(unknown, make_user, monkeypatch):
    def taken(*_):
        BrokerConnection.objects.update(lease_epoch=F("lease_epoch") + 1)

    monkeypatch.setattr("trading.actions.manual_resolution.confirm_live", taken)
    with pytest.raises(Refused, match="claimed") as refusal:
        resolve_order(unknown, make_user("trader"), filled(unknown), COMMENT)
    assert refusal.value.code == "connection_busy" and is_unchanged(unknown)


def test_resolve_order_with_a_fill_of_another_day_books_it_on_that_day(unknown, make_user):
    Order.objects.filter(pk=unknown.pk).update(submitted_at=timezone.now() - timedelta(days=3))
    day = timezone.localdate() - timedelta(days=2)
    resolution = filled(unknown).model_copy(update={"day": day})
    order = resolve_order(Order.objects.get(pk=unknown.pk), make_user("trader"), resolution, COMMENT)
    assert order.fills.get().executed_at.date() == day


# ---- the page and the command


@pytest.fixture
def log_in(client, make_user):
    def enter(role):
        client.force_login(make_user(role))
        return client

    return enter


def address(order):
    return reverse("trading:resolve_order", args=[order.run.run_id, order.sequence])


def form(order, **fields):
    values = {"outcome": "filled", "shares": str(order.shares), "price_usd": "650.25", "comment": COMMENT}
    return values | fields


def test_resolve_page_is_linked_from_the_run_and_resolves_the_order(unknown, log_in):
    client = log_in("trader")
    assert address(unknown) in client.get(reverse("trading:run", args=[unknown.run.run_id])).content.decode()
    assert 'name="outcome"' in client.get(address(unknown)).content.decode()
    missing = client.post(address(unknown), form(unknown, comment=""))
    assert "This field is required" in missing.content.decode() and is_unchanged(unknown)
    refused = client.post(address(unknown), form(unknown, outcome="never_arrived"))
    assert "has no filled shares" in refused.content.decode() and is_unchanged(unknown)
    done = client.post(address(unknown), form(unknown), follow=True)
    assert "is filled." in done.content.decode()
    assert Order.objects.get(pk=unknown.pk).state == "filled"
    assert 'name="outcome"' not in client.get(address(unknown)).content.decode()


def test_resolve_page_without_permission_shows_no_form_and_refuses(unknown, log_in):
    client = log_in("operator")
    assert address(unknown) not in client.get(reverse("trading:run", args=[unknown.run.run_id])).content.decode()
    assert 'name="outcome"' not in client.get(address(unknown)).content.decode()
    assert 'name="outcome"' not in client.post(address(unknown), form(unknown)).content.decode()
    assert is_unchanged(unknown)
    client.logout()
    assert client.post(address(unknown), form(unknown)).status_code == 302 and is_unchanged(unknown)


def test_resolve_page_without_csrf_token_is_refused(unknown, make_user):
    client = Client(enforce_csrf_checks=True)
    client.force_login(make_user("trader"))
    assert client.post(address(unknown), form(unknown)).status_code == 403
    assert is_unchanged(unknown)


def test_resolve_order_of_a_live_account_needs_its_number_and_a_two_factor_code(unknown, make_user):
    Account.objects.update(type="live")
    order = Order.objects.select_related("run", "account").get(pk=unknown.pk)
    trader = make_user("trader")
    device = new_device(trader)
    backup_code = device.new_backup_codes()[0]
    with pytest.raises(Refused, match="Log in again"):
        resolve_order(order, trader, filled(order), COMMENT)
    trader.otp_device = device
    for typed, code, refused in (
        ("", "", "confirmation_missing"),
        ("U2", backup_code, "confirmation_missing"),
        ("U1", "wrong", "code_missing"),
    ):
        with pytest.raises(Refused) as refusal:
            resolve_order(order, trader, filled(order), COMMENT, typed_account_id=typed, code=code)
        assert refusal.value.code == refused and is_unchanged(order)
    device.throttle_reset()
    assert resolve_order(order, trader, filled(order), COMMENT, typed_account_id="U1", code=backup_code)
    assert Order.objects.get(pk=order.pk).state == "filled"


def call_resolve(*arguments, name="resolve"):
    out = StringIO()
    call_command(name, *arguments, "--comment", COMMENT, stdout=out)
    return out.getvalue().strip()


def test_resolve_command_resolves_an_order(unknown, make_user):
    make_user("trader"), make_user("operator")
    order = unknown.client_order_id
    for arguments, code, reason in (
        ((order, "--user", "nobody", "--cancelled"), 2, "no active user"),
        (("rb-x-1", "--user", "trader", "--cancelled"), 2, "no order or run"),
        ((order, "--user", "trader"), 2, "Specify --filled"),
        ((order, "--user", "trader", "--filled", "many", "--price", "1"), 2, "shares: "),
        ((order, "--user", "operator", "--cancelled"), 3, "not_permitted"),
        ((unknown.run.run_id, "--user", "trader"), 3, "orders_not_resolved"),
    ):
        with pytest.raises(CommandError, match=reason) as error:
            call_resolve(*arguments)
        assert error.value.returncode == code and is_unchanged(unknown)
    output = call_resolve(order, "--user", "trader", "--filled", "2", "--price", "650.25", "--commission", "1")
    assert output == f"{order} SPY cancelled"
    assert Order.objects.get(pk=unknown.pk).filled_quantity == 2


def test_close_run_without_open_orders_by_page_or_command(make_account, log_in, make_user):
    client = log_in("trader")
    for close in ("page", "command"):
        run = carry_out(make_account(f"U-{close}"))
        RebalanceRun.objects.filter(pk=run.pk).update(state="needs_attention", error_code="positions_disagree")
        shown = client.get(reverse("trading:run", args=[run.run_id])).content.decode()
        assert reverse("trading:close", args=[run.run_id]) in shown
        if close == "page":
            client.post(reverse("trading:close", args=[run.run_id]), {"comment": " "})
            assert RebalanceRun.objects.get(pk=run.pk).state == "needs_attention", "a comment is needed"
            client.post(reverse("trading:close", args=[run.run_id]), {"comment": COMMENT})
        else:
            call_resolve(run.run_id, "--user", "trader", name="settle")
        run.refresh_from_db()
        assert (run.state, run.error_code) == ("failed", "resolved_manually")
        with pytest.raises(Refused) as refusal:
            close_run(run, make_user("trader"), COMMENT)
        assert refusal.value.code == "run_already_closed"
    assert AuditEntry.objects.filter(action="closed a run", detail__contains=COMMENT).count() == 2
