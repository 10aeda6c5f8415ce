"""Two-factor authentication: devices, codes, and which actions require them."""

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
    """Return whether the user has a confirmed device, so that logins require a code."""
    return bool(TOTPDevice.objects.filter(user=person, confirmed=True).exists())


def is_verified(person: User) -> bool:
    """Return whether this login used a two-factor code, or an API token that replaces one."""
    return getattr(person, "otp_device", None) is not None or getattr(person, "is_vouched_for", False)


def mark_verified(person: User) -> None:
    """Mark the owner of an API token that may execute: a verified user created it."""
    person.is_vouched_for = True  # type: ignore[attr-defined]  # of this request's object only


def code_missing(person: User, account: Account) -> Refused | None:
    """Return why the user may not submit orders of the account without a two-factor code, or None."""
    if is_verified(person):
        return None
    if has_device(person):
        return Refused("code_needed", "You logged in without a two-factor code. Log in again with a code.")
    if needs_one_time_code(account):
        return Refused(
            "code_device_needed", "Submitting orders requires two-factor authentication. Set it up, then log in again."
        )
    return None


def confirm_live(account: Account, person: User, typed_account_id: str, code: str | None) -> None:
    """Check the confirmation of an action on a live account: the typed account id, and a code if there is a device.

    The code is None if the login was verified in another way.

    Raises:
        Refused: the confirmation is not valid; nothing was done.
    """
    if account.type != Account.Type.LIVE:
        return
    if typed_account_id.strip() != account.account_id:
        raise Refused(
            "confirmation_missing", "Nothing was done. This is a live account: type its account number to confirm."
        )
    # Last, because a checked code cannot be used again.
    if code is not None and has_device(person) and check_code(person, code) is None:
        raise Refused("code_missing", "Nothing was done. The code is missing, invalid or expired; enter the next one.")


def check_code(person: User, code: str) -> Device | None:
    """Return the device of a valid code; None if it is invalid, used, or delayed after repeated failures."""
    code = code.replace(" ", "")
    kind: type[Device] = TOTPDevice if len(code) == DIGITS and code.isdigit() else StaticDevice
    with transaction.atomic():
        device: Device | None = kind.objects.select_for_update().filter(user=person, confirmed=True).first()
        return device if device is not None and _verify(device, code) else None


def pending_device(person: User) -> TOTPDevice:
    """Return the user's device that is not confirmed yet; create it if there is none."""
    return TOTPDevice.objects.get_or_create(user=person, confirmed=False, defaults={"name": "Authenticator"})[0]


def enrol(person: User, code: str) -> tuple[Device, list[str]] | None:
    """Confirm the pending device with its first code.

    Returns:
        The device, and the backup codes, which are not shown again. None for an invalid code.
    """
    with transaction.atomic():
        device = TOTPDevice.objects.select_for_update().filter(user=person, confirmed=False).first()
        if device is None or not _verify(device, code.replace(" ", "")):
            return None
        device.confirmed = True
        device.save(update_fields=["confirmed"])
        return device, _new_backup_codes(person)


def remove(person: User, code: str) -> bool:
    """Remove all devices of the user, given a code of one of them."""
    if check_code(person, code) is None:
        return False
    TOTPDevice.objects.filter(user=person).delete()
    StaticDevice.objects.filter(user=person).delete()
    return True


def backup_codes_left(person: User) -> int:
    """Return the number of unused backup codes."""
    return int(StaticToken.objects.filter(device__user=person).count())


def _new_backup_codes(person: User) -> list[str]:
    StaticDevice.objects.filter(user=person).delete()
    device = StaticDevice.objects.create(user=person, name="Backup codes")
    codes = [secrets.token_hex(5) for _ in range(BACKUP_CODES)]
    StaticToken.objects.bulk_create(StaticToken(device=device, token=code) for code in codes)
    return codes


def _verify(device: ThrottlingMixin, code: str) -> bool:
    """Verify a code; django-otp delays repeated failures and accepts each code once."""
    allowed, _ = device.verify_is_allowed()
    return allowed and bool(device.verify_token(code))
