"""A person settles what neither the broker's records nor a worker could."""

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
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts.models import Account, BrokerConnection
from brokers.simulated.models import SimulatedOrder
from tests.support.makers import carry_out, held
from trading.access.roles import sync_roles
from trading.actions.manual_resolution import Finding, Outcome, close_run, resolve_order
from trading.errors import Refused
from trading.journal import leases
from trading.models import AuditEntry, Fill, Notification, Order, RebalanceRun

pytestmark = pytest.mark.django_db(transaction=True)
COMMENT = "Statement of 2026-11-24, page 2"


@pytest.fixture
def people(transactional_db):
    sync_roles()

    def person(role):
        user, new = User.objects.get_or_create(username=role, defaults={"is_staff": True})
        if new:
            user.groups.add(Group.objects.get(name=role))
        return user

    return person


@pytest.fixture
def unknown(make_account):
    """An order of whose fate the journal knows nothing, although the broker has filled it."""
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
    return Finding(
        outcome=Outcome.FILLED,
        shares=order.shares if shares is None else Decimal(shares),
        price_usd=Decimal("650.25"),
        commission_usd=Decimal("1.05"),
    )


def as_it_was(order):
    now = Order.objects.select_related("run").get(pk=order.pk)
    quiet = not AuditEntry.objects.filter(action="settled an order").exists() and not Fill.objects.filter(order=now)
    return now.state == order.state and quiet


def test_a_filled_order_is_booked_its_run_closed_and_the_account_free_again(unknown, people):
    # Sent yesterday: the broker keeps no records of it, and nobody but a person can know.
    Order.objects.filter(pk=unknown.pk).update(submitted_at=timezone.now() - timedelta(days=1))
    SimulatedOrder.objects.filter(symbol="SPY").update(client_order_id="of-yesterday")
    assert carry_out(unknown.account).error_code == "orders_unknown"
    resolve_order(unknown, people("trader"), filled(unknown), COMMENT)
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
    entry = AuditEntry.objects.get(action="settled an order")
    assert entry.person == "trader" and COMMENT in entry.detail and "filled at 650.25" in entry.detail
    assert Notification.objects.filter(title__startswith="Rebalance closed by a person").count() == 1
    assert carry_out(unknown.account).state == "completed"
    assert held("U1")["SPY"] == order.quantity, "nothing was bought a second time"


@pytest.mark.parametrize(
    ("finding", "state", "shares"),
    [
        ({"outcome": "filled", "shares": 3, "price_usd": 650}, "cancelled", 3),
        ({"outcome": "cancelled"}, "cancelled", 0),
        ({"outcome": "never_arrived"}, "lost", 0),
    ],
)
def test_every_outcome_ends_the_order_as_its_state_machine_allows(unknown, people, finding, state, shares):
    order = resolve_order(unknown, people("trader"), Finding.model_validate(finding), COMMENT)
    assert (order.state, order.filled_quantity, COMMENT in order.message) == (state, shares, True)
    assert order.finished_at is not None
    assert RebalanceRun.objects.get(pk=order.run_id).state == "failed"


def test_what_is_recorded_already_is_not_booked_again(unknown, people):
    Fill.objects.create(
        order=unknown, execution_id="x-1", quantity=2, price_usd=649, commission_usd=1, executed_at=timezone.now()
    )
    Order.objects.update(filled_quantity=2)
    order = resolve_order(unknown, people("trader"), filled(unknown, unknown.shares - 2), COMMENT)
    assert (order.state, order.filled_quantity, order.commission_usd) == ("filled", order.quantity, Decimal("2.05"))


def test_the_run_is_closed_with_the_last_of_its_orders(unknown, people):
    other = unknown.run.orders.get(symbol="IEF")
    forget(other)
    other.refresh_from_db()
    resolve_order(unknown, people("trader"), filled(unknown), COMMENT)
    assert RebalanceRun.objects.get(pk=unknown.run_id).state == "needs_attention"
    with pytest.raises(Refused, match="Settle these orders first") as refusal:
        close_run(RebalanceRun.objects.get(pk=unknown.run_id), people("trader"), COMMENT)
    assert refusal.value.code == "orders_not_resolved"
    resolve_order(other, people("trader"), filled(other), COMMENT)
    assert RebalanceRun.objects.get(pk=unknown.run_id).state == "failed"


def no_right(order):
    return "operator"


def a_run_that_is_alive(order):
    RebalanceRun.objects.filter(pk=order.run_id).update(state="running")


def an_order_that_is_settled(order):
    Order.objects.filter(pk=order.pk).update(state="rejected")


def a_slot_that_is_worked(order):
    leases.claim_lease(order.run.connection_id, "a worker")


def an_order_that_the_broker_knows(order):
    Order.objects.filter(pk=order.pk).update(broker_order_id="17")


def shares_that_were_reported(order):
    Order.objects.filter(pk=order.pk).update(filled_quantity=5)


NEVER = Finding(outcome=Outcome.NEVER_ARRIVED)


@pytest.mark.parametrize(
    ("spoil", "finding", "comment", "code", "said"),
    [
        (no_right, NEVER, COMMENT, "not_permitted", "may not settle"),
        (None, NEVER, "  ", "comment_missing", "how you know"),
        (a_run_that_is_alive, NEVER, COMMENT, "run_not_finished", "has not ended"),
        (an_order_that_is_settled, NEVER, COMMENT, "order_already_resolved", "nothing to settle"),
        (a_slot_that_is_worked, NEVER, COMMENT, "connection_busy", "Try again in a moment"),
        (an_order_that_the_broker_knows, NEVER, COMMENT, "inconsistent_resolution", "it did arrive"),
        (shares_that_were_reported, Finding(outcome="cancelled"), COMMENT, "inconsistent_resolution", "reported 5"),
        (None, Finding(outcome="filled"), COMMENT, "inconsistent_resolution", "state the shares"),
        (None, Finding(outcome="filled", shares=1), COMMENT, "inconsistent_resolution", "their price"),
        (None, Finding(outcome="cancelled", shares=1), COMMENT, "inconsistent_resolution", "has no shares"),
        (None, Finding(outcome="filled", shares=9999, price_usd=1), COMMENT, "inconsistent_resolution", "more than"),
        (
            None,
            Finding(outcome="filled", shares=1, price_usd=1, day=timezone.now().date() + timedelta(days=3)),
            COMMENT,
            "inconsistent_resolution",
            "cannot have been filled",
        ),
    ],
)
def test_what_cannot_be_settled_is_refused_with_a_sentence(unknown, people, spoil, finding, comment, code, said):
    role = (spoil(unknown) if spoil else None) or "trader"
    order = Order.objects.select_related("run", "account").get(pk=unknown.pk)
    with pytest.raises(Refused, match=said) as refusal:
        resolve_order(order, people(role), finding, comment)
    assert refusal.value.code == code
    assert as_it_was(order)


def test_a_slot_that_another_process_takes_meanwhile_leaves_everything_as_it_was(unknown, people, monkeypatch):
    def taken(*_):
        BrokerConnection.objects.update(lease_epoch=F("lease_epoch") + 1)

    monkeypatch.setattr("trading.actions.manual_resolution.confirm_live", taken)
    with pytest.raises(Refused, match="taken over") as refusal:
        resolve_order(unknown, people("trader"), filled(unknown), COMMENT)
    assert refusal.value.code == "connection_busy" and as_it_was(unknown)


def test_a_fill_of_another_day_is_booked_on_that_day(unknown, people):
    Order.objects.filter(pk=unknown.pk).update(submitted_at=timezone.now() - timedelta(days=3))
    day = timezone.now().date() - timedelta(days=2)
    finding = filled(unknown).model_copy(update={"day": day})
    order = resolve_order(Order.objects.get(pk=unknown.pk), people("trader"), finding, COMMENT)
    assert order.fills.get().executed_at.date() == day


# ---- the doors


@pytest.fixture
def log_in(client, people):
    def enter(role):
        client.force_login(people(role))
        return client

    return enter


def address(order):
    return reverse("trading:resolve_order", args=[order.run.run_id, order.sequence])


def form(order, **fields):
    told = {"outcome": "filled", "shares": str(order.shares), "price_usd": "650.25", "comment": COMMENT}
    return told | fields


def test_the_page_of_the_run_leads_to_the_form_and_the_form_settles(unknown, log_in):
    client = log_in("trader")
    assert address(unknown) in client.get(reverse("trading:run", args=[unknown.run.run_id])).content.decode()
    assert "<legend>Status at the broker</legend>" in client.get(address(unknown)).content.decode()
    missing = client.post(address(unknown), form(unknown, comment=""))
    assert "This field is required" in missing.content.decode() and as_it_was(unknown)
    refused = client.post(address(unknown), form(unknown, outcome="never_arrived"))
    assert "what was not filled has no shares" in refused.content.decode() and as_it_was(unknown)
    done = client.post(address(unknown), form(unknown), follow=True)
    assert "is filled." in done.content.decode()
    assert Order.objects.get(pk=unknown.pk).state == "filled"
    assert 'id="resolved"' in client.get(address(unknown)).content.decode()


def test_without_the_right_there_is_no_form_and_no_way_around_it(unknown, log_in):
    client = log_in("operator")
    assert address(unknown) not in client.get(reverse("trading:run", args=[unknown.run.run_id])).content.decode()
    assert "<legend>Status at the broker</legend>" not in client.get(address(unknown)).content.decode()
    assert 'id="no-permission"' in client.post(address(unknown), form(unknown)).content.decode()
    assert as_it_was(unknown)
    client.logout()
    assert client.post(address(unknown), form(unknown)).status_code == 302 and as_it_was(unknown)


def test_a_form_of_another_site_is_not_taken(unknown, people):
    client = Client(enforce_csrf_checks=True)
    client.force_login(people("trader"))
    assert client.post(address(unknown), form(unknown)).status_code == 403
    assert as_it_was(unknown)


def test_a_live_account_wants_its_number_and_a_one_time_code(unknown, people):
    Account.objects.update(type="live")
    order = Order.objects.select_related("run", "account").get(pk=unknown.pk)
    trader = people("trader")
    TOTPDevice.objects.create(user=trader, confirmed=True)
    device = StaticDevice.objects.create(user=trader, confirmed=True)
    device.token_set.create(token="a-backup-code")
    with pytest.raises(Refused, match="Log in again"):
        resolve_order(order, trader, filled(order), COMMENT)
    trader.otp_device = device
    for typed, code, refused in (
        ("", "", "confirmation_missing"),
        ("U2", "a-backup-code", "confirmation_missing"),
        ("U1", "wrong", "code_missing"),
    ):
        with pytest.raises(Refused) as refusal:
            resolve_order(order, trader, filled(order), COMMENT, typed_account_id=typed, code=code)
        assert refusal.value.code == refused and as_it_was(order)
    device.throttle_reset()
    assert resolve_order(order, trader, filled(order), COMMENT, typed_account_id="U1", code="a-backup-code")
    assert Order.objects.get(pk=order.pk).state == "filled"


def settle(*arguments):
    out = StringIO()
    call_command("settle", *arguments, "--comment", COMMENT, stdout=out)
    return out.getvalue().strip()


def test_the_command_settles_an_order(unknown, people):
    people("trader"), people("operator")
    order = unknown.client_order_id
    for arguments, code, said in (
        ((order, "--user", "nobody", "--cancelled"), 2, "no active user"),
        (("rb-x-1", "--user", "trader", "--cancelled"), 2, "no order and no run"),
        ((order, "--user", "trader"), 2, "Say --filled"),
        ((order, "--user", "trader", "--filled", "many", "--price", "1"), 2, "shares: "),
        ((order, "--user", "operator", "--cancelled"), 3, "not_permitted"),
        ((unknown.run.run_id, "--user", "trader"), 3, "orders_not_resolved"),
    ):
        with pytest.raises(CommandError, match=said) as error:
            settle(*arguments)
        assert error.value.returncode == code and as_it_was(unknown)
    said = settle(order, "--user", "trader", "--filled", "2", "--price", "650.25", "--commission", "1")
    assert said == f"{order} SPY cancelled"
    assert Order.objects.get(pk=unknown.pk).filled_quantity == 2


def test_a_run_without_open_orders_is_closed_by_page_or_command(make_account, log_in, people):
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
            settle(run.run_id, "--user", "trader")
        run.refresh_from_db()
        assert (run.state, run.error_code) == ("failed", "resolved_manually")
        with pytest.raises(Refused, match="does not need attention"):
            close_run(run, people("trader"), COMMENT)
    assert AuditEntry.objects.filter(action="closed a run", detail__contains=COMMENT).count() == 2
