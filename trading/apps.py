from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class TradingConfig(AppConfig):
    """Events, runs, orders, and the engine that executes them."""

    name = "trading"

    def ready(self) -> None:
        """Connect the audit trail, and update schedules and roles in the database after each migration."""
        from trading.access import audit  # noqa: PLC0415 - models are not loaded earlier

        audit.connect()
        post_migrate.connect(_sync_schedules, sender=self, dispatch_uid="trading.sync_schedules")
        post_migrate.connect(_sync_roles, sender=self, dispatch_uid="trading.sync_roles")


def _sync_schedules(**_: Any) -> None:
    from trading.queue.schedules import sync_schedules  # noqa: PLC0415 - models are not loaded earlier

    sync_schedules()


def _sync_roles(**_: Any) -> None:
    from trading.access.roles import sync_roles  # noqa: PLC0415 - models are not loaded earlier

    sync_roles()
