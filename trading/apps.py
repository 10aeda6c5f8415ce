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
        post_migrate.connect(_sync, sender=self, dispatch_uid="trading.sync")


def _sync(**_: Any) -> None:
    from trading.access.roles import sync_roles  # noqa: PLC0415 - models are not loaded earlier
    from trading.queue.schedules import sync_schedules  # noqa: PLC0415

    sync_schedules()
    sync_roles()
