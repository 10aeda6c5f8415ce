"""What a dump of the database does not contain: seeds, backup codes, keys of sessions."""

import base64
import hashlib
import secrets
from io import StringIO

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.test import Client
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice
from pydantic import SecretStr

from rebalancer_site.environment import ConfigurationError
from tests.support.two_factor import code_of, new_device
from trading.access.two_factor import check_code
from trading.common.encryption import CannotDecrypt, decrypt, encrypt
from trading.models import Authenticator, BackupCode, UserSession

pytestmark = pytest.mark.django_db


def new_key():
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


@pytest.fixture
def user():
    return User.objects.create_user("ann", password="right", is_staff=True)


def dump():
    """Everything that the tables of the product and of its libraries hold, as text."""
    rows = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f'SELECT * FROM "{table}"')  # noqa: S608 - names of the schema
            rows += cursor.fetchall()
    return repr(rows)


def test_dump_contains_neither_seed_nor_backup_code_nor_session_key(user):
    device = new_device(user)
    codes = device.new_backup_codes()
    client = Client()
    fields = {"username": "ann", "password": "right", "otp_token": code_of(device), "next": "/codes/"}
    assert client.post("/admin/login/", fields).status_code == 302
    held = dump()
    key = client.cookies["sessionid"].value
    for secret in (device.bin_key.hex(), base64.b32encode(device.bin_key).decode(), *codes, key):
        assert secret not in held
    (session,) = UserSession.objects.filter(user=user)
    assert session.pk == hashlib.sha256(key.encode()).hexdigest()
    assert session.pk in held
    forged = Client()
    forged.cookies["sessionid"] = session.pk
    assert forged.get("/codes/").status_code == 302


def test_backup_code_is_accepted_once(user):
    device = new_device(user)
    codes = device.new_backup_codes()
    assert len(set(codes)) == 10
    assert [check_code(user, codes[0]), check_code(user, codes[0])] == [device, None]
    assert BackupCode.objects.count() == 9


def test_wrong_codes_are_counted_whatever_their_kind(user):
    device = new_device(user)
    for code in ("000000", "nonsense", "\u0660" * 6, ""):
        Authenticator.objects.update(throttling_failure_timestamp=None)
        assert check_code(user, code) is None
    device.refresh_from_db()
    assert device.throttling_failure_count == 4


@pytest.mark.parametrize("configured", [False, True])
def test_rotation_encrypts_with_the_first_key(user, settings, configured):
    old, new = new_key(), new_key()
    settings.CREDENTIALS_KEY = SecretStr(old if configured else "")
    device = new_device(user)
    seed = device.bin_key
    settings.CREDENTIALS_KEY = SecretStr(f"{new}, {old}" if configured else new)
    assert Authenticator.objects.get().bin_key == seed
    call_command("rotate_credentials_key", stdout=StringIO())
    settings.CREDENTIALS_KEY, settings.SECRET_KEY = SecretStr(new), "another-key"
    assert Authenticator.objects.get().bin_key == seed


def test_former_secret_key_decrypts_as_a_fallback(settings):
    text = encrypt(b"seed")
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another-key"
    assert decrypt(text) == b"seed"


def test_unknown_key_refuses_codes_and_rotation_and_changes_nothing(user, settings, caplog):
    settings.CREDENTIALS_KEY = SecretStr(new_key())
    device = new_device(user)
    code, seed = code_of(device), device.seed
    settings.CREDENTIALS_KEY = SecretStr(new_key())
    assert check_code(user, code) is None
    assert "CREDENTIALS_KEY" in caplog.text
    with pytest.raises(CommandError, match="Nothing was changed"):
        call_command("rotate_credentials_key", stdout=StringIO())
    assert Authenticator.objects.get().seed == seed
    with pytest.raises(CannotDecrypt):
        _ = device.bin_key


@pytest.mark.parametrize(
    "value", ["short", "x" * 44, new_key()[:-4], f"{new_key()},word"], ids=["short", "letters", "cut", "second"]
)
def test_invalid_key_is_refused_without_its_value(monkeypatch, value):
    from rebalancer_site.environment import load

    monkeypatch.setenv("CREDENTIALS_KEY", value)
    with pytest.raises(ConfigurationError, match=r"^CREDENTIALS_KEY: A key is 32 bytes") as refusal:
        load()
    assert value not in str(refusal.value)


def test_command_removes_the_devices_of_a_user(user):
    new_device(user).new_backup_codes()
    call_command("remove_two_factor", "ann", stdout=StringIO())
    assert not Authenticator.objects.exists() and not BackupCode.objects.exists()


def test_migration_moves_devices_and_ends_sessions(user):
    from importlib import import_module

    from django.contrib.sessions.models import Session
    from django.utils import timezone

    migration = import_module("trading.migrations.0017_access_protection")
    former = TOTPDevice.objects.create(user=user, name="Phone", confirmed=True, last_t=7)
    former_codes = StaticDevice.objects.create(user=user, name="Backup codes", confirmed=True)
    former_codes.token_set.create(token="0123456789")
    pending = TOTPDevice.objects.create(user=user, name="New", confirmed=False)
    Session.objects.create(session_key="k", session_data="", expire_date=timezone.now())
    migration.move_devices(apps, None)
    device, other = Authenticator.objects.order_by("pk")
    assert (device.bin_key, device.confirmed, device.last_step) == (former.bin_key, True, 7)
    assert (other.bin_key, other.confirmed, other.backup_codes.count()) == (pending.bin_key, False, 0)
    assert check_code(user, "0123456789") == device
    assert not TOTPDevice.objects.exists() and not StaticDevice.objects.exists() and not Session.objects.exists()
    migration.restore_devices(apps, None)
    assert TOTPDevice.objects.get(confirmed=True).key == former.key
