"""`manage.py rotate_credentials_key`: encrypt the secrets in the database with the first key."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from trading.access.audit import note
from trading.common.encryption import CannotDecrypt, encrypt_again
from trading.models import Authenticator


class Command(BaseCommand):
    help = "Encrypt the secrets in the database with the first key of CREDENTIALS_KEY. Then remove the other keys."

    @transaction.atomic
    def handle(self, *_: Any, **__: Any) -> None:
        Authenticator.objects.filter(confirmed=False).delete()  # their users start again
        devices = list(Authenticator.objects.select_for_update().order_by("pk"))
        try:
            for device in devices:
                device.seed = encrypt_again(device.seed)
        except CannotDecrypt as error:
            raise CommandError(f"Nothing was changed. {error}") from error
        Authenticator.objects.bulk_update(devices, ["seed"])
        note("credentials key rotated", f"{len(devices)} two-factor devices")
        self.stdout.write(f"Encrypted again: {len(devices)} two-factor devices.")
