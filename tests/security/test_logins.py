"""Logins: throttled, and with one-time codes where a person has a device."""

import re

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from tests.support.two_factor import code_of
from trading.access.client_address import client_address
from trading.access.two_factor import pending_device
from trading.actions.safety_report import TITLE
from trading.models import AuditEntry, Authenticator, BackupCode, Notification

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"


@pytest.fixture
def person():
    return User.objects.create_user("ann", password=PASSWORD, is_staff=True, is_superuser=True)


def log_in(client=None, name="ann", password=PASSWORD, code="", address="203.0.113.1"):
    client = client or Client()
    fields = {"username": name, "password": password, "otp_token": code, "next": "/codes/"}
    return client.post("/admin/login/", fields, REMOTE_ADDR=address)


def is_in(answer):
    return answer.status_code == 302


@pytest.fixture
def device(person):
    """A device that was set up on the page, as a person does it."""
    client = Client()
    log_in(client)
    page = client.get("/codes/").content.decode()
    assert "data:image/svg+xml;base64," in page and re.search(r"<code>[A-Z2-7]{32}=*</code>", page)
    found = Authenticator.objects.get()
    done = client.post("/codes/enrol/", {"password": PASSWORD, "code": code_of(found)}).content.decode()
    found.printed_codes = re.findall(r"<li><code>(\w+)</code>", done)
    found.client = client
    found.refresh_from_db()
    return found


def test_a_name_is_locked_whatever_the_address(person):
    for i in range(5):
        assert not is_in(log_in(password="wrong", address=f"203.0.113.{i}"))
    answer = log_in(address="198.51.100.1")
    assert (answer.status_code, "Too many failed logins" in answer.content.decode()) == (429, True)


def test_an_address_is_locked_whatever_the_name(person):
    for i in range(5):
        assert not is_in(log_in(name=f"nobody{i}", password="wrong"))
    assert log_in().status_code == 429
    assert is_in(log_in(address="198.51.100.1"))


def test_a_name_in_an_address_header_is_believed_from_proxies_only(rf, settings):
    request = rf.get("/", REMOTE_ADDR="10.0.0.2", HTTP_X_FORWARDED_FOR="1.1.1.1, 203.0.113.7, 10.0.0.1")
    for proxies, address in ((0, "10.0.0.2"), (1, "10.0.0.1"), (2, "203.0.113.7"), (5, "10.0.0.2")):
        settings.PROXY_COUNT = proxies
        assert client_address(request) == address


def test_without_a_device_a_password_is_enough(person):
    assert is_in(log_in())


def test_with_a_device_the_code_is_asked_for(device):
    answer = log_in()
    assert (answer.status_code, "Enter the two-factor code" in answer.content.decode()) == (200, True)
    assert not is_in(log_in(code="000000"))
    Authenticator.objects.update(throttling_failure_count=0, throttling_failure_timestamp=None)
    client = Client()
    assert is_in(log_in(client, code=code_of(device, 1)))
    assert 'id="disable-2fa"' in client.get("/codes/").content.decode()
    assert AuditEntry.objects.filter(person="ann", action="one-time codes set up").count() == 1


def test_a_code_works_once(device):
    code = code_of(device, 1)
    assert is_in(log_in(code=code))
    assert not is_in(log_in(code=code))


def test_a_backup_code_works_once(device):
    assert len(device.printed_codes) == 10
    assert is_in(log_in(code=device.printed_codes[0]))
    assert not is_in(log_in(code=device.printed_codes[0]))
    assert BackupCode.objects.count() == 9


def test_wrong_codes_lock_like_wrong_passwords(device):
    for _ in range(5):
        log_in(code="000000")
    assert log_in(code=code_of(device, 1)).status_code == 429


def test_setting_up_needs_the_password_and_a_right_code(person):
    client = Client()
    log_in(client)
    client.get("/codes/")
    code = code_of(Authenticator.objects.get())
    for fields in ({"password": "wrong", "code": code}, {"password": PASSWORD, "code": "000000"}):
        client.post("/codes/enrol/", fields)
        assert not Authenticator.objects.filter(confirmed=True).exists()
    assert is_in(log_in())


def test_removing_needs_a_code(device):
    device.client.post("/codes/remove/", {"code": "000000"})
    assert Authenticator.objects.filter(confirmed=True).exists()
    Authenticator.objects.update(throttling_failure_timestamp=None)
    device.client.post("/codes/remove/", {"code": device.printed_codes[1]})
    assert not Authenticator.objects.exists()
    assert is_in(log_in())


def test_the_page_is_for_those_who_are_logged_in():
    assert Client().get("/codes/").status_code == 302
    assert Client().post("/codes/enrol/").status_code == 302


def test_setting_up_and_removing_a_device_is_reported_to_the_operators(device):
    assert Notification.objects.get(title=TITLE).body == "ann: two-factor device set up"
    device.client.post("/codes/remove/", {"code": device.printed_codes[0]})
    assert Notification.objects.filter(title=TITLE).first().body == "ann: two-factor devices removed"


def test_a_first_device_needs_a_permission_where_it_is_required(settings):
    settings.TWO_FACTOR_NEEDS_PERMISSION = True
    user = User.objects.create_user("bob", password=PASSWORD, is_staff=True)
    client = Client()
    log_in(client, name="bob")
    assert "qr" not in client.get("/codes/").content.decode().lower().split("<main")[-1]
    pending = pending_device(user)
    fields = {"password": PASSWORD, "code": code_of(pending)}
    client.post("/codes/enrol/", fields)
    assert not Authenticator.objects.filter(confirmed=True).exists()
    user.user_permissions.add(Permission.objects.get(codename="enrol_two_factor"))
    client.post("/codes/enrol/", fields)
    assert Authenticator.objects.get().confirmed


def test_a_new_password_is_reported_to_the_operators(person):
    client = Client()
    log_in(client)
    fields = {"old_password": "wrong", "new_password1": "n3w-passw0rd!", "new_password2": "n3w-passw0rd!"}
    client.post("/admin/password_change/", fields)
    assert not Notification.objects.exists()
    client.post("/admin/password_change/", fields | {"old_password": PASSWORD})
    assert Notification.objects.get(title=TITLE).body == "ann: password changed"
    assert AuditEntry.objects.filter(person="ann", action="password changed").exists()
