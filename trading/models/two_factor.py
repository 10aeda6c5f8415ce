import base64
import hashlib
import secrets
import time
from typing import Any
from urllib.parse import quote, urlencode

from django.conf import settings
from django.db import models
from django_otp.models import Device, ThrottlingMixin, TimestampMixin
from django_otp.oath import TOTP

from trading.common.encryption import decrypt, encrypt

DIGITS = 6
STEP_SECONDS = 30
TOLERANCE_STEPS = 1
"""Number of steps before and after the current one whose codes are accepted, for clocks that differ."""
SEED_BYTES = 20
BACKUP_CODES = 10


def new_seed() -> str:
    """Return a new random seed, encrypted."""
    return encrypt(secrets.token_bytes(SEED_BYTES))


def new_salt() -> str:
    """Return a new random salt of backup codes."""
    return secrets.token_hex(16)


def backup_code_digest(code: str, salt: str) -> str:
    """Return the digest of a backup code. scrypt is slow on purpose: a code has only 40 random bits."""
    return hashlib.scrypt(code.encode(), salt=salt.encode(), n=2**14, r=8, p=1, dklen=32).hex()


class Authenticator(TimestampMixin, ThrottlingMixin, Device):  # type: ignore[misc]  # django-otp has no types
    """An authenticator app of a user (TOTP, RFC 6238) and its backup codes. A dump does not contain what they need."""

    seed = models.TextField(default=new_seed, editable=False, help_text="Encrypted seed of the codes.")
    last_step = models.BigIntegerField(default=-1, editable=False, help_text="Step of the latest accepted code.")
    drift = models.SmallIntegerField(default=0, editable=False, help_text="Steps by which the device's clock differs.")
    salt = models.CharField(max_length=32, default=new_salt, editable=False)

    class Meta(Device.Meta):  # type: ignore[misc]  # django-otp has no types
        verbose_name = "two-factor device"
        permissions = (("enrol_two_factor", "Can set up a first two-factor device"),)

    @property
    def bin_key(self) -> bytes:
        """Return the seed.

        Raises:
            CannotDecrypt: It was encrypted with another key.
        """
        return decrypt(self.seed)

    @property
    def config_url(self) -> str:
        """Return the address that an authenticator app scans."""
        issuer = settings.OTP_TOTP_ISSUER
        parameters = {
            "secret": base64.b32encode(self.bin_key).decode(),
            "algorithm": "SHA1",
            "digits": DIGITS,
            "period": STEP_SECONDS,
            "issuer": issuer,
        }
        return f"otpauth://totp/{quote(f'{issuer}:{self.user.get_username()}')}?{urlencode(parameters)}"

    def verify_token(self, token: str) -> bool:
        """Verify a code of the app or a backup code. Each is accepted once; failures delay the next attempt."""
        if not self.verify_is_allowed()[0]:
            return False
        is_backup_code = not (len(token) == DIGITS and token.isascii() and token.isdigit())
        if not (self._use_backup_code(token) if is_backup_code else self._use_code(int(token))):
            self.throttle_increment(commit=True)
            return False
        self.throttle_reset(commit=False)
        self.set_last_used_timestamp(commit=False)
        self.save()
        return True

    def get_throttle_factor(self) -> int:
        """Return the delay after the first failure, in seconds; it doubles with each further failure."""
        return 1

    def new_backup_codes(self) -> list[str]:
        """Replace the backup codes and return the new ones, which are not stored."""
        codes = [secrets.token_hex(5) for _ in range(BACKUP_CODES)]
        self.backup_codes.all().delete()
        digests = (backup_code_digest(code, self.salt) for code in codes)
        BackupCode.objects.bulk_create(BackupCode(device=self, digest=digest) for digest in digests)
        return codes

    def _use_code(self, code: int) -> bool:
        totp = TOTP(self.bin_key, STEP_SECONDS, 0, DIGITS, self.drift)
        totp.time = time.time()
        if not totp.verify(code, TOLERANCE_STEPS, self.last_step + 1):
            return False
        self.last_step, self.drift = totp.t(), totp.drift
        return True

    def _use_backup_code(self, code: str) -> bool:
        deleted: tuple[int, Any] = self.backup_codes.filter(digest=backup_code_digest(code, self.salt)).delete()
        return deleted[0] == 1


class BackupCode(models.Model):
    """An unused backup code. Only its digest is stored."""

    device = models.ForeignKey(Authenticator, on_delete=models.CASCADE, related_name="backup_codes")
    digest = models.CharField(max_length=64)

    def __str__(self) -> str:
        return f"backup code of {self.device}"
