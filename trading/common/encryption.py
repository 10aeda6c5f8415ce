"""Encryption of secrets in the database, with keys that no dump contains.

The keys are those of `CREDENTIALS_KEY`, then one that is derived from `SECRET_KEY`. The first encrypts, all decrypt.
"""

import base64
from functools import cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


class CannotDecrypt(Exception):  # noqa: N818 - named by outcome
    """The text was encrypted with a key that is not configured."""

    def __init__(self) -> None:
        super().__init__(
            "A secret in the database was encrypted with another key. Restore the former key: a "
            "CREDENTIALS_KEY can be added to the end of the setting, a SECRET_KEY replaces the present one."
        )


def encrypt(secret: bytes) -> str:
    """Return the encrypted secret as text."""
    return _keys().encrypt(secret).decode()


def decrypt(text: str) -> bytes:
    """Return the secret.

    Raises:
        CannotDecrypt: No configured key fits.
    """
    try:
        return _keys().decrypt(text.encode())
    except InvalidToken:
        raise CannotDecrypt from None


def encrypt_again(text: str) -> str:
    """Return the text encrypted with the first key.

    Raises:
        CannotDecrypt: No configured key fits.
    """
    return encrypt(decrypt(text))


def _keys() -> MultiFernet:
    configured = settings.CREDENTIALS_KEY.get_secret_value().split(",")
    derived = [_derived(secret) for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)]
    return MultiFernet([Fernet(key.strip()) for key in configured if key.strip()] + derived)


@cache
def _derived(secret: str) -> Fernet:
    derivation = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"rebalancer credentials")
    return Fernet(base64.urlsafe_b64encode(derivation.derive(secret.encode())))
