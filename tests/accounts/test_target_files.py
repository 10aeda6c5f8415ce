"""Static targets in bulk: the form of the admin, CSV files on its pages, and YAML files by command."""

from decimal import Decimal
from io import StringIO

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.urls import reverse

from accounts.models import Strategy, TargetAllocation
from accounts.targets_csv import read_targets, write_targets
from accounts.yaml.reading import ImportRefused
from accounts.yaml.targets_file import export_targets, import_targets
from tests.support.makers import strategy

pytestmark = pytest.mark.django_db
FIELDS = {
    "name": "blend",
    "source": "static",
    "late_event_policy": "preview",
    "late_after_seconds": "900",
    "enabled": "on",
    "cadence": "none",
    "drift_check": "off",
    "drift_check_minutes": "30",
}


@pytest.fixture
def admin(client):
    client.force_login(User.objects.create_superuser("admin"))
    return client


def symbols(count):
    letters = "ABCDEFGHIJ"
    return ["S" + "".join(letters[int(digit)] for digit in f"{number:05d}") for number in range(count)]


def form_with(count):
    data = {"targets-TOTAL_FORMS": count, "targets-INITIAL_FORMS": 0} | FIELDS
    for number, symbol in enumerate(symbols(count)):
        row = {"id": "", "strategy": "", "symbol": symbol, "weight": f"{1 / count:.8f}"}
        data |= {f"targets-{number}-{field}": value for field, value in row.items()}
    return data


def upload(client, blend, text, name="targets.csv"):
    file = SimpleUploadedFile(name, text if isinstance(text, bytes) else text.encode())
    return client.post(reverse("admin:accounts_strategy_import_targets", args=[blend.pk]), {"file": file})


def targets_of(name="blend"):
    return dict(TargetAllocation.objects.filter(strategy__name=name).values_list("symbol", "weight"))


def test_form_with_250_targets_is_saved(admin):
    answer = admin.post(reverse("admin:accounts_strategy_add"), form_with(250))
    assert answer.status_code == 302, answer.content[:400]
    assert len(targets_of()) == 250


def test_form_with_too_many_fields_is_refused_with_a_page_that_says_what_to_do(admin, settings):
    settings.DATA_UPLOAD_MAX_NUMBER_FIELDS = 100
    answer = admin.post(reverse("admin:accounts_strategy_add"), form_with(40))
    page = answer.content.decode()
    assert answer.status_code == 400
    assert "more than 100 fields" in page and "import_targets" in page
    assert not Strategy.objects.exists()


def test_other_bad_requests_have_a_page(client):
    page = client.get("/", headers={"host": "evil.example"})
    assert (page.status_code, "Request not accepted" in page.content.decode()) == (400, True)


def test_import_replaces_the_targets_and_writes_one_history_row_for_each_change(admin):
    blend = strategy("blend", {"SPY": "0.5", "IEF": "0.3", "GLD": "0.2"})
    before = TargetAllocation.history.count()
    answer = upload(admin, blend, "symbol,weight\nSPY,0.5\nIEF,0.25\nQQQ,0.25\n")
    assert answer.status_code == 302
    assert targets_of() == {"SPY": Decimal("0.5"), "IEF": Decimal("0.25"), "QQQ": Decimal("0.25")}
    rows = TargetAllocation.history.all()[: TargetAllocation.history.count() - before]
    assert {(row.symbol, row.history_type) for row in rows} == {("IEF", "~"), ("QQQ", "+"), ("GLD", "-")}
    assert {row.history_user.username for row in rows} == {"admin"}


def test_export_is_imported_unchanged(admin):
    blend = strategy("blend", dict.fromkeys(symbols(300), "0.00333333"))
    answer = admin.get(reverse("admin:accounts_strategy_export_targets", args=[blend.pk]))
    before = targets_of()
    assert answer["Content-Disposition"] == 'attachment; filename="blend-targets.csv"'
    assert upload(admin, blend, answer.content).status_code == 302
    assert targets_of() == before
    assert TargetAllocation.history.count() == 300


@pytest.mark.parametrize(
    "text",
    [
        "symbol,weight\r\nSPY,0.5\r\nIEF,0.5\r\n",
        "\ufeffSymbol;Weight\nSPY;0.5\nIEF;0.5\n",
        "ticker\tallocation\nSPY\t.5\nIEF\t5e-1\n",
        '"weight","symbol"\n"0.50"," SPY "\n0.5,IEF',
    ],
)
def test_read_targets_accepts_what_spreadsheets_write(text):
    entries = read_targets(text.encode(), "t.csv")
    assert [(entry.symbol, entry.weight) for entry in entries] == [("SPY", Decimal("0.5")), ("IEF", Decimal("0.5"))]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "symbol,weight\n",
        "SPY,0.5\n",
        "symbol,weight,name\nSPY,1,x\n",
        "symbol,weight\nSPY\n",
        "symbol,weight\nSPY,1,2\n",
        "symbol,weight\nSPY,50%\n",
        "symbol;weight\nSPY;0,5\n",
        "symbol,weight\nSPY,010\n",
        "symbol,weight\nSPY,-0.5\n",
        "symbol,weight\nSPY,nan\n",
        "symbol,weight\nspy,1\n",
        "symbol,weight\nS P,1\n",
        "symbol,weight\nSPY,0.5\nSPY,0.5\n",
        "symbol,weight\nSPY,60\nIEF,40\n",
        "symbol,weight\nSPY,0.7\nIEF,0.4\n",
        "symbol,weight\nCASH,0.1\nSPY,0.9\n",
        "symbol,weight\nSPY,0\n",
        "symbol,weight\nSPY,0.123456789\n",
        "symbol,weight\n" + "X" * 150_000 + ",1\n",
        'symbol,weight\n"SPY,1\n',
        b"symbol,weight\nSPY,\xff\n",
        b"symbol,weight\nSPY\x00,1\n",
        "\n".join(["symbol,weight", *(f"{symbol},0.0001" for symbol in symbols(2001))]),
    ],
)
def test_import_of_a_bad_file_changes_nothing_and_names_the_problem(admin, text):
    blend = strategy("blend", {"SPY": "1"})
    answer = upload(admin, blend, text)
    errors = answer.context["form"].errors["file"]
    assert (answer.status_code, targets_of()) == (200, {"SPY": Decimal(1)})
    assert errors and all(len(error) < 300 for error in errors)


def test_import_for_published_targets_or_without_permission_is_refused(admin, client):
    published = strategy("published")
    assert "published" in upload(admin, published, "symbol,weight\nSPY,1\n").context["form"].errors["file"][0]
    blend = strategy("blend", {"SPY": "1"})
    user = User.objects.create(username="clerk", is_staff=True)
    for permission in ("view_strategy", "change_strategy", "add_targetallocation"):
        user.user_permissions.add(Permission.objects.get(codename=permission))
    client.force_login(user)
    assert upload(client, blend, "symbol,weight\nIEF,1\n").status_code == 403
    assert targets_of() == {"SPY": Decimal(1)}


def test_csv_of_targets_begins_with_a_header():
    assert write_targets([("SPY", "1")]).splitlines() == ["symbol,weight", "SPY,1"]


# ---- YAML files


def write(tmp_path, text):
    path = tmp_path / "targets.yaml"
    path.write_text(text)
    return path


def test_commands_export_and_import_all_static_strategies(tmp_path):
    strategy("blend", dict.fromkeys(symbols(300), "0.00333333"))
    strategy("stocks", {"CASH": "0.1", "USD": "0.4", "ON": "0.5"}, cash_like_stocks="CASH, USD")
    strategy("published")
    path = tmp_path / "targets.yaml"
    call_command("export_targets", output=path)
    before = {name: targets_of(name) for name in ("blend", "stocks")}
    Strategy.objects.all().delete()
    out = StringIO()
    call_command("import_targets", str(path), stdout=out)
    assert {name: targets_of(name) for name in before} == before
    assert Strategy.objects.get(name="stocks").stocks_named_like_cash == {"CASH", "USD"}
    report = import_targets(path)
    assert (report.created, report.changed, report.unchanged) == (0, 0, 2)
    assert export_targets() == path.read_text()


def test_import_targets_changes_only_the_strategies_of_the_file(tmp_path):
    strategy("blend", {"SPY": "1"})
    strategy("other", {"IEF": "1"})
    path = write(tmp_path, "blend:\n  targets:\n  - {symbol: SPY, weight: 0.5}\n  - {symbol: ON, weight: 0.5}\n")
    assert import_targets(path, dry_run=True).changed == 1
    assert targets_of() == {"SPY": Decimal(1)}
    assert import_targets(path).changed == 1
    assert (targets_of(), targets_of("other")) == ({"SPY": Decimal("0.5"), "ON": Decimal("0.5")}, {"IEF": Decimal(1)})


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("- 1", "strategies"),
        ("{}", "strategies"),
        ("blend: 3", "strategy blend"),
        ("blend: {targets: []}", "above 0"),
        ("blend: {targets: [{symbol: SPY, weight: 1}, {symbol: SPY, weight: 0}]}", "2 times"),
        ("blend: {targets: [{symbol: SPY, weight: 60}, {symbol: IEF, weight: 40}]}", "percent"),
        ("blend: {targets: [{symbol: CASH, weight: 1}]}", "cash"),
        ("blend: {targets: [{symbol: SPY, weight: 010}]}", "targets.0.weight"),
        ("blend: {targets: [{symbol: true, weight: 1}]}", "targets.0.symbol"),
        ("blend: {stocks_named_like_cash: [SPY], targets: [{symbol: SPY, weight: 1}]}", "does not read like cash"),
        ("Not A Channel: {targets: [{symbol: SPY, weight: 1}]}", "lower-case"),
        ("published: {targets: [{symbol: SPY, weight: 1}]}", "published"),
    ],
)
def test_import_targets_of_a_bad_file_changes_nothing(tmp_path, text, named):
    strategy("published")
    with pytest.raises(ImportRefused) as caught:
        import_targets(
            write(tmp_path, f"good: {{targets: [{{symbol: SPY, weight: 1}}]}}\n{text}" if text[0] not in "-{" else text)
        )
    assert any(named in problem for problem in caught.value.problems)
    assert not TargetAllocation.objects.exists()
    with pytest.raises(CommandError, match="import_refused"):
        call_command("import_targets", str(write(tmp_path, text)))
