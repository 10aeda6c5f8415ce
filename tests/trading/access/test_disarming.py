"""Changes that disarm safety: a fresh two-factor code where codes are used, and a message to the operators."""

from datetime import timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.forms.models import model_to_dict
from django.test import Client
from django.urls import URLPattern, get_resolver, reverse

from accounts.models import Account, RebalancePolicy, ReplacementSet, Strategy
from tests.support.makers import policy, simulated_account
from tests.support.two_factor import code_of, log_in_without_code, new_device
from trading.access.disarming import MODELS, WRITING_VIEWS, Effect, Rule
from trading.actions.kill_switch import set_paused
from trading.actions.safety_report import TITLE
from trading.admin.read_only import ReadOnlyMixin
from trading.api.api import api
from trading.models import ApiToken, Notification, TradingControl, Webhook
from trading.pages.protected_admin import OWN_VIEWS

pytestmark = pytest.mark.django_db
KILL_SWITCH = "/admin/trading/tradingcontrol/1/change/"


@pytest.fixture
def boss():
    return User.objects.create_user("boss", password="right", is_staff=True, is_superuser=True)


@pytest.fixture
def device(boss):
    return new_device(boss)


@pytest.fixture
def client(boss):
    """A session that only a password has verified."""
    return log_in_without_code(boss)


@pytest.fixture
def paused():
    set_paused(None, paused=True, reason="emergency", by="by command")
    Notification.objects.all().delete()


def reports():
    return list(Notification.objects.filter(title=TITLE).order_by("id").values_list("body", flat=True))


def is_paused():
    return TradingControl.objects.get().trading_paused


def form_of(row, **fields):
    """Return what the admin form of a row sends, with changed fields."""
    values = {name: "" if value is None else value for name, value in model_to_dict(row).items()}
    values = {name: value for name, value in (values | fields).items() if value is not False}
    return {name: "on" if value is True else value for name, value in values.items()}


def change(client, row, inlines=(), **fields):
    label = row._meta.label_lower.replace(".", "_")
    counts = {f"{prefix}-{kind}_FORMS": 0 for prefix in inlines for kind in ("TOTAL", "INITIAL")}
    return client.post(reverse(f"admin:{label}_change", args=[row.pk]), form_of(row, **fields) | counts)


def test_resume_with_a_password_only_is_refused_where_the_user_has_a_device(client, device, paused):
    answer = client.post(KILL_SWITCH, {"reason": ""})
    assert (answer.status_code, is_paused(), reports()) == (200, True, [])
    assert 'name="otp_token"' in answer.content.decode()
    assert answer.context["adminform"].form.non_field_errors()


def test_pause_that_cancels_working_orders_needs_no_code(client, device):
    TradingControl.objects.create(pk=1)
    answer = client.post(KILL_SWITCH, {"trading_paused": "on", "reason": "Odd quotes", "cancel_orders": "on"})
    assert (answer.status_code, is_paused(), reports()) == (302, True, [])


def test_revert_to_a_version_before_the_pause_needs_another_user_if_that_is_required(client, device, settings):
    settings.RESUME_BY_ANOTHER_USER = True
    TradingControl.objects.create(pk=1)
    client.post(KILL_SWITCH, {"trading_paused": "on", "reason": ""})
    client.post("/codes/enter/", {"code": code_of(device)})
    first = TradingControl.history.earliest("history_id").pk
    client.post(f"/admin/trading/tradingcontrol/1/history/{first}/", {"reason": ""})
    assert is_paused()


def test_resume_with_a_code_is_done_and_reported(client, device, paused):
    answer = client.post(KILL_SWITCH, {"reason": "", "otp_token": code_of(device)})
    assert (answer.status_code, is_paused()) == (302, False)
    (report,) = reports()
    assert report.startswith("boss: trading control ")


def test_resume_with_a_wrong_code_is_refused_and_counts_as_a_failed_login(client, device, paused):
    wrong = f"{(int(code_of(device)) + 1) % 1_000_000:06d}"
    assert client.post(KILL_SWITCH, {"reason": "", "otp_token": wrong}).status_code == 200
    assert is_paused()
    for _ in range(4):
        client.post(KILL_SWITCH, {"reason": "", "otp_token": wrong})
    assert client.post("/admin/login/", {"username": "boss", "password": "right"}).status_code == 429


def test_a_code_counts_for_five_minutes(client, device, paused, time_machine):
    time_machine.move_to("2026-11-24T15:00:00Z", tick=False)
    client.post("/codes/enter/", {"code": code_of(device)})
    time_machine.shift(timedelta(seconds=300))
    assert client.post(KILL_SWITCH, {"reason": ""}).status_code == 302
    set_paused(None, paused=True, reason="again", by="by command")
    time_machine.shift(timedelta(seconds=1))
    assert client.post(KILL_SWITCH, {"reason": ""}).status_code == 200
    assert is_paused()


def test_the_code_of_a_login_counts(boss, device, paused):
    client = Client()
    fields = {"username": "boss", "password": "right", "otp_token": code_of(device), "next": "/codes/"}
    assert client.post("/admin/login/", fields).status_code == 302
    assert client.post(KILL_SWITCH, {"reason": ""}).status_code == 302


@pytest.mark.parametrize(("required", "done"), [("nothing", True), ("live", False), ("execute", False)])
def test_a_user_without_a_device_is_refused_where_codes_are_required(client, paused, settings, required, done):
    settings.ONE_TIME_CODES_REQUIRED_FOR = required
    client.post(KILL_SWITCH, {"reason": ""})
    assert (is_paused(), bool(reports())) == (not done, done)


def test_pausing_never_needs_a_code(client, device, settings):
    settings.ONE_TIME_CODES_REQUIRED_FOR = "execute"
    simulated_account("U1", {"SPY": "1"})
    client.post("/admin/trading/tradingcontrol/add/", {"trading_paused": "on", "reason": "storm"})
    accounts = {"action": "pause_trading", "_selected_action": [Account.objects.get().pk]}
    client.post("/admin/accounts/account/", accounts)
    assert is_paused() and Account.objects.get().trading_paused


def test_the_action_that_resumes_accounts_asks_for_a_code(client, device):
    account = simulated_account("U1", {"SPY": "1"}, trading_paused=True)
    action = {"action": "resume_trading", "_selected_action": [account.pk]}
    answer = client.post("/admin/accounts/account/", action)
    account.refresh_from_db()
    assert (answer.url, account.trading_paused) == ("/codes/enter/?next=%2Fadmin%2Faccounts%2Faccount%2F", True)
    assert client.post(answer.url, {"code": code_of(device)}).url == "/admin/accounts/account/"
    client.post("/admin/accounts/account/", action)
    account.refresh_from_db()
    assert (account.trading_paused, reports()) == (False, ["boss: account U1: resume_trading"])


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [
        ({"type": "live"}, {"live_armed": True}, True),
        ({"type": "live", "live_armed": True}, {"live_armed": False}, False),
        ({}, {"trade_guard": "pdt_legacy"}, True),
        ({}, {"cash_reserve_percent": "1"}, True),
        ({"enabled": False}, {"enabled": True}, True),
        ({}, {"enabled": False}, False),
        ({"trading_paused": True}, {"trading_paused": False}, True),
        ({}, {"name": "Savings"}, False),
        ({}, {"name": "Savings", "trade_guard": "pdt_legacy"}, True),
    ],
)
def test_account_change_that_disarms_is_refused_without_a_code(client, device, before, after, refused):
    account = simulated_account("U1", {"SPY": "1"}, **before)
    answer = change(client, account, **after)
    assert answer.status_code == (200 if refused else 302)
    stored = Account.objects.get()
    assert all((str(getattr(stored, name)) == str(value)) is not refused for name, value in after.items())
    assert reports() == []


def test_policy_change_and_replacement_are_refused_without_a_code(client, device):
    account = simulated_account("U1", {"SPY": "1"})
    other = policy("other", max_turnover_percent=900)
    assert change(client, account.policy, max_turnover_percent="500").status_code == 200
    assert change(client, account, policy=other.pk).status_code == 200
    assert Account.objects.get().policy_id == account.policy_id
    assert RebalancePolicy.objects.get(pk=account.policy_id).max_turnover_percent != 500


@pytest.mark.parametrize(("is_default", "refused"), [(True, True), (False, False)])
def test_new_policy_is_refused_without_a_code_if_it_becomes_the_default(client, device, is_default, refused):
    simulated_account("U1", {"SPY": "1"}, policy=None)
    client.post("/admin/accounts/rebalancepolicy/add/", form_of(RebalancePolicy(name="new", is_default=is_default)))
    assert RebalancePolicy.objects.filter(name="new").exists() is not refused


@pytest.mark.parametrize(("kind", "required", "refused"), [
    ("paper", "nothing", False),
    ("live", "nothing", True),
    ("paper", "execute", True),
])  # fmt: skip
def test_targets_and_replacements_of_live_accounts_are_refused_without_a_code(
    client, device, settings, kind, required, refused
):
    settings.ONE_TIME_CODES_REQUIRED_FOR = required
    replacements = ReplacementSet.objects.create(name="set")
    account = simulated_account("U1", {"SPY": "1"}, type=kind, replacement_set=replacements)
    row = account.strategy.targets.get()
    inline = {
        "targets-TOTAL_FORMS": 1,
        "targets-INITIAL_FORMS": 1,
        "targets-0-id": row.pk,
        "targets-0-strategy": account.strategy.pk,
        "targets-0-symbol": "SPY",
        "targets-0-weight": "0.5",
    }
    url = reverse("admin:accounts_strategy_change", args=[account.strategy.pk])
    answer = client.post(url, form_of(account.strategy) | inline)
    row.refresh_from_db()
    assert (answer.status_code, row.weight == 1) == (200 if refused else 302, refused)
    answer = change(client, account.strategy, ["targets"], cadence="weekly", source="api")
    assert (Strategy.objects.get().cadence == "none") is refused
    inline = {"rules-TOTAL_FORMS": 1, "rules-INITIAL_FORMS": 0, "rules-0-source": "SPY", "rules-0-target": "VOO"}
    url = reverse("admin:accounts_replacementset_change", args=[replacements.pk])
    client.post(url, {"name": "set", **inline, "rules-0-scale": "1"})
    assert replacements.rules.exists() is not refused


@pytest.mark.parametrize(("kind", "refused"), [("paper", False), ("live", True)])
def test_import_of_targets_of_live_accounts_is_refused_without_a_code(client, device, kind, refused):
    account = simulated_account("U1", {"SPY": "1"}, type=kind)
    url = reverse("admin:accounts_strategy_import_targets", args=[account.strategy.pk])
    client.post(url, {"file": SimpleUploadedFile("t.csv", b"symbol,weight\nIEF,1\n")})
    symbols = set(account.strategy.targets.values_list("symbol", flat=True))
    assert symbols == ({"SPY"} if refused else {"IEF"})
    client.post(reverse("trading:enter_code"), {"code": code_of(device), "next": url})
    client.post(url, {"file": SimpleUploadedFile("t.csv", b"symbol,weight\nGLD,1\n")})
    assert set(account.strategy.targets.values_list("symbol", flat=True)) == {"GLD"}
    assert len(reports()) == refused


def test_webhooks_rights_and_tokens_are_refused_without_a_code(client, device, boss):
    webhook = Webhook.objects.create(name="hook", url="https://example.com/")
    ann = User.objects.create_user("ann", password="old")
    before = ann.password
    client.post(reverse("admin:trading_webhook_delete", args=[webhook.pk]), {"post": "yes"})
    client.post("/admin/trading/webhook/", {"action": "renew_key", "_selected_action": [webhook.pk]})
    client.post("/admin/trading/webhook/", {"action": "delete_selected", "_selected_action": [webhook.pk], "post": "y"})
    client.post("/admin/trading/webhook/add/", {"name": "new", "url": "https://example.org/", "enabled": "on"})
    client.post(f"/admin/auth/user/{ann.pk}/password/", {"password1": "corrEct-h0rse", "password2": "corrEct-h0rse"})
    client.post("/admin/auth/group/add/", {"name": "mine"})
    client.post("/admin/trading/apitoken/add/", {"name": "x", "scopes": ["preview"], "days": 3})
    (stored,) = Webhook.objects.all()
    ann.refresh_from_db()
    assert (stored.key_id, ann.password) == (webhook.key_id, before)
    assert not ApiToken.objects.exists() and not Group.objects.filter(name="mine").exists()
    client.post("/codes/enter/", {"code": code_of(device)})
    client.post(f"/admin/auth/user/{ann.pk}/password/", {"password1": "corrEct-h0rse", "password2": "corrEct-h0rse"})
    client.post("/admin/trading/apitoken/add/", {"name": "x", "scopes": ["preview"], "days": 3})
    group = Group.objects.create(name="theirs")
    client.post(reverse("admin:auth_group_delete", args=[group.pk]), {"post": "yes"})
    user = {"username": "eve", "usable_password": "true", "password1": "corrEct-h0rse", "password2": "corrEct-h0rse"}
    client.post("/admin/auth/user/add/", user)
    client.post("/admin/auth/user/", {"action": "delete_selected", "_selected_action": [ann.pk], "post": "yes"})
    assert [text.split(":")[1].split()[0] for text in reports()] == ["user", "API", "group", "user", "user"]
    assert [text.rsplit(": ", 1)[1] for text in reports()[2:]] == ["deleted", "Added.", "deleted"]


def test_reverting_to_a_former_version_is_refused_without_a_code(client, device):
    account = simulated_account("U1", {"SPY": "1"}, trade_guard="once_per_session")
    former = account.history.latest().pk
    Account.objects.filter(pk=account.pk).update(trade_guard="none")
    url = reverse("admin:accounts_account_simple_history", args=[account.pk, former])
    client.post(url, form_of(account))
    assert Account.objects.get().trade_guard == "none"


def test_resume_by_the_user_who_paused_is_refused_if_another_is_required(boss, settings):
    settings.RESUME_BY_ANOTHER_USER = True
    first, second = (
        log_in_without_code(User.objects.create(username=name, is_staff=True, is_superuser=True))
        for name in ("first", "second")
    )
    first.post("/admin/trading/tradingcontrol/add/", {"trading_paused": "on", "reason": "storm"})
    assert first.post(KILL_SWITCH, {"reason": ""}).status_code == 200
    assert is_paused()
    second.post(KILL_SWITCH, {"trading_paused": "on", "reason": "still a storm"})
    assert first.post(KILL_SWITCH, {"reason": ""}).status_code == 200
    assert second.post(KILL_SWITCH, {"reason": ""}).status_code == 302
    assert not is_paused()


def test_commands_report_in_one_message(django_capture_on_commit_callbacks, boss):
    account = simulated_account("U1", {"SPY": "0.5", "IEF": "0.5"}, type="live")
    Notification.objects.all().delete()
    with django_capture_on_commit_callbacks(execute=True):
        account.strategy.targets.filter(symbol="IEF").get().delete()
        spy = account.strategy.targets.get()
        spy.weight = Decimal(1)
        spy.save()
        account.name = "Savings"
        account.save()
    (report,) = reports()
    assert [line.split(" (")[0].split(":")[0] for line in report.splitlines()] == ["A command", "A command"]
    call_command("create_api_token", "cron", "--user", "boss", "--scope", "execute", stdout=StringIO())
    assert len(reports()) == 2


def test_every_admin_model_is_classified():
    for model, model_admin in admin.site._registry.items():
        effect = MODELS[model._meta.label_lower]
        protected = hasattr(model_admin, "rule")
        assert protected is isinstance(effect, Rule), model
        if effect is Effect.READ_ONLY:
            assert isinstance(model_admin, ReadOnlyMixin) or model._meta.model_name == "brokerconnection", model
        for inline in model_admin.inlines:
            assert isinstance(effect, Rule) or effect is Effect.HARMLESS or issubclass(inline, ReadOnlyMixin), inline
        assert not model_admin.list_editable, "A list that edits rows is not protected."
    assert set(MODELS) <= {model._meta.label_lower for model in admin.site._registry} | {
        "accounts.targetallocation",
        "accounts.replacementrule",
    }


def test_every_rule_names_fields_and_actions_that_exist(rf, boss):
    for model, model_admin in admin.site._registry.items():
        if isinstance(rule := MODELS[model._meta.label_lower], Rule):
            fields = {field.name for field in model._meta.get_fields()} | set(model_admin.form.base_fields)
            assert fields >= set(rule.harmless), model
            assert set(model_admin.actions) >= set(rule.actions), model


def test_every_other_view_of_a_protected_admin_is_protected():
    for model_admin in admin.site._registry.values():
        if not hasattr(model_admin, "rule"):
            continue
        for pattern in model_admin.get_urls():
            own = not pattern.name or pattern.name.rsplit("_", 1)[-1] in OWN_VIEWS
            assert own or pattern.callback.__code__.co_name == "guarded", pattern.name


def writing_pages():
    """Yield the names of the product's pages that accept a POST."""
    (product,) = [part for part in get_resolver().url_patterns if getattr(part, "app_name", "") == "trading"]
    client = Client()
    for pattern in product.url_patterns:
        assert isinstance(pattern, URLPattern)
        arguments = dict.fromkeys(pattern.pattern.converters, "1")
        if client.post(reverse(f"trading:{pattern.name}", kwargs=arguments)).status_code != 405:
            yield f"trading:{pattern.name}"


def writing_operations():
    for _, router in api._routers:
        for view in router.path_operations.values():
            for operation in view.operations:
                if set(operation.methods) != {"GET"}:
                    yield f"api:{operation.operation_id}"


def test_every_page_and_operation_that_writes_is_classified():
    assert {*writing_pages(), *writing_operations()} == set(WRITING_VIEWS)
