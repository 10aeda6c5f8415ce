from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class TradingConfig(AppConfig):
    """Events, runs, orders and the engine that carries them out."""

    name = "trading"

    def ready(self) -> None:
        """Keeps schedules and roles as the code has them, whenever the database is brought up to date."""
        from trading.access import audit  # noqa: PLC0415 - models are there only now

        audit.connect()
        post_migrate.connect(_sync_schedules, sender=self, dispatch_uid="trading.sync_schedules")
        post_migrate.connect(_sync_roles, sender=self, dispatch_uid="trading.sync_roles")


def _sync_schedules(**_: Any) -> None:
    from trading.queue.schedules import sync_schedules  # noqa: PLC0415 - models are there only now

    sync_schedules()


def _sync_roles(**_: Any) -> None:
    from trading.access.roles import sync_roles  # noqa: PLC0415 - models are there only now

    sync_roles()
