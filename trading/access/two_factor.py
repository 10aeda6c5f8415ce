"""Two-factor authentication: devices, codes, and which actions require them."""

import logging

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction

from accounts.models import Account
from accounts.policies import needs_one_time_code
from trading.common.encryption import CannotDecrypt
from trading.errors import Refused
from trading.models import Authenticator, BackupCode
from trading.models.two_factor import new_seed

ENROL_PERMISSION = "trading.enrol_two_factor"
logger = logging.getLogger("rebalancer.security")


def has_device(person: User) -> bool:
    """Return whether the user has a confirmed device, so that logins require a code."""
    return bool(Authenticator.objects.filter(user=person, confirmed=True).exists())


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


def check_code(person: User, code: str) -> Authenticator | None:
    """Return the device of a valid code; None if it is invalid, used, or delayed after repeated failures."""
    with transaction.atomic():
        device = Authenticator.objects.select_for_update().filter(user=person, confirmed=True).first()
        return device if device is not None and _verify(device, code) else None


def enrolment_refusal(person: User) -> Refused | None:
    """Return why the user may not set up a first device, or None."""
    if not settings.TWO_FACTOR_NEEDS_PERMISSION or person.has_perm(ENROL_PERMISSION):
        return None
    message = f"An administrator must first give you the permission to set up 2FA ({ENROL_PERMISSION})."
    return Refused("not_permitted", message)


def pending_device(person: User) -> Authenticator:
    """Return the user's device that is not confirmed yet; create it if there is none."""
    fields = {"user": person, "confirmed": False}
    device: Authenticator = Authenticator.objects.get_or_create(**fields, defaults={"name": "Authenticator"})[0]
    try:
        _ = device.bin_key
    except CannotDecrypt:  # nothing depends on a device that is not confirmed
        device.seed = new_seed()
        device.save(update_fields=["seed"])
    return device


def enrol(person: User, code: str) -> tuple[Authenticator, list[str]] | None:
    """Confirm the pending device with its first code.

    Returns:
        The device, and the backup codes, which are not shown again. None for an invalid code.
    """
    with transaction.atomic():
        device = Authenticator.objects.select_for_update().filter(user=person, confirmed=False).first()
        if device is None or not _verify(device, code):
            return None
        device.confirmed = True
        device.save(update_fields=["confirmed"])
        return device, device.new_backup_codes()


def remove(person: User, code: str) -> bool:
    """Remove all devices of the user, given a code of one of them."""
    if check_code(person, code) is None:
        return False
    Authenticator.objects.filter(user=person).delete()
    return True


def backup_codes_left(person: User) -> int:
    """Return the number of unused backup codes."""
    return BackupCode.objects.filter(device__user=person, device__confirmed=True).count()


def _verify(device: Authenticator, code: str) -> bool:
    try:
        return device.verify_token(code.replace(" ", ""))
    except CannotDecrypt as error:
        logger.error("The two-factor code of %s cannot be verified. %s", device.user, error)  # noqa: TRY400 - no traceback
        return False
