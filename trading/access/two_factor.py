"""One-time codes: the device of a person, checking its codes, and who has to have one."""

import secrets

from django.contrib.auth.models import User
from django.db import transaction
from django_otp.models import Device, ThrottlingMixin
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts.models import Account
from accounts.policies import needs_one_time_code
from trading.errors import Refused

BACKUP_CODES = 10
DIGITS = 6


def has_device(person: User) -> bool:
    """Whether logins of the person ask for a code."""
    return bool(TOTPDevice.objects.filter(user=person, confirmed=True).exists())


def is_verified(person: User) -> bool:
    """Whether this login was made with a code, or an API token stands for one."""
    return getattr(person, "otp_device", None) is not None or getattr(person, "is_vouched_for", False)


def mark_verified(person: User) -> None:
    """For the bearer of an API token that may execute: it was made by a person who was verified then."""
    person.is_vouched_for = True  # type: ignore[attr-defined]  # of this request's object only


def code_missing(person: User, account: Account) -> Refused | None:
    """What keeps the person from sending orders of the account until a code was given; None when nothing does."""
    if is_verified(person):
        return None
    if has_device(person):
        return Refused("code_needed", "You have logged in without a one-time code. Log in again, with the code.")
    if needs_one_time_code(account):
        words = "Sending orders needs one-time codes here. Set them up under “One-time codes” first."
        return Refused("code_device_needed", words)
    return None


def confirm_live(account: Account, person: User, typed_account_id: str, code: str | None) -> None:
    """Real money wants the account's number typed, and a one-time code of who has a device for them.

    Args:
        account: a live account; others need no confirmation.
        person: who acts.
        typed_account_id: what they typed.
        code: what they typed of it; None where their login was checked in another way.

    Raises:
        Refused: nothing was done.
    """
    if account.type != Account.Type.LIVE:
        return
    if typed_account_id.strip() != account.account_id:
        raise Refused(
            "confirmation_missing", "Type the account number to confirm: it is a live account. Nothing was done."
        )
    # Last, since a code that was looked at is used up.
    if code is not None and has_device(person) and check_code(person, code) is None:
        raise Refused("code_missing", "The one-time code is missing, wrong or used. Nothing was done; try the next.")


def check_code(person: User, code: str) -> Device | None:
    """The device that the code belongs to; None when it is wrong, was used, or comes too soon after wrong ones."""
    code = code.replace(" ", "")
    kind: type[Device] = TOTPDevice if len(code) == DIGITS and code.isdigit() else StaticDevice
    with transaction.atomic():
        device: Device | None = kind.objects.select_for_update().filter(user=person, confirmed=True).first()
        return device if device is not None and _verify(device, code) else None


def device_to_enrol(person: User) -> TOTPDevice:
    """A device that waits to be confirmed by its first code."""
    return TOTPDevice.objects.get_or_create(user=person, confirmed=False, defaults={"name": "Authenticator"})[0]


def enrol(person: User, code: str) -> tuple[Device, list[str]] | None:
    """Confirms the waiting device with its first code.

    Returns:
        The device, and the backup codes to be written down: they are not shown again. None for a wrong code.
    """
    with transaction.atomic():
        device = TOTPDevice.objects.select_for_update().filter(user=person, confirmed=False).first()
        if device is None or not _verify(device, code.replace(" ", "")):
            return None
        device.confirmed = True
        device.save(update_fields=["confirmed"])
        return device, _new_backup_codes(person)


def remove(person: User, code: str) -> bool:
    """Takes the person's devices away, for a code of one of them."""
    if check_code(person, code) is None:
        return False
    TOTPDevice.objects.filter(user=person).delete()
    StaticDevice.objects.filter(user=person).delete()
    return True


def backup_codes_left(person: User) -> int:
    """How many backup codes were not used yet."""
    return int(StaticToken.objects.filter(device__user=person).count())


def _new_backup_codes(person: User) -> list[str]:
    StaticDevice.objects.filter(user=person).delete()
    device = StaticDevice.objects.create(user=person, name="Backup codes")
    codes = [secrets.token_hex(5) for _ in range(BACKUP_CODES)]
    StaticToken.objects.bulk_create(StaticToken(device=device, token=code) for code in codes)
    return codes


def _verify(device: ThrottlingMixin, code: str) -> bool:
    """Checks the code; django-otp makes wrong ones wait longer each time, and takes a right one only once."""
    allowed, _ = device.verify_is_allowed()
    return allowed and bool(device.verify_token(code))
