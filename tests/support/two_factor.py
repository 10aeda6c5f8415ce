"""Two-factor devices of test users, and their codes."""

import time

from django.contrib.auth.models import User
from django.test import Client
from django_otp.oath import TOTP

from trading.models import Authenticator
from trading.models.two_factor import DIGITS, STEP_SECONDS


def new_device(user: User) -> Authenticator:
    """Create a confirmed device of the user."""
    device: Authenticator = Authenticator.objects.create(user=user, name="Phone", confirmed=True)
    return device


def code_of(device: Authenticator, steps: int = 0) -> str:
    """Return the code that the device shows now, or some steps of 30 seconds later."""
    totp = TOTP(device.bin_key, STEP_SECONDS, 0, DIGITS, device.drift)
    totp.time = time.time() + steps * STEP_SECONDS
    return f"{totp.token():06d}"


def log_in_without_code(user: User) -> Client:
    """Return a client whose session was verified by a password only."""
    client = Client(REMOTE_ADDR="203.0.113.5")
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client
