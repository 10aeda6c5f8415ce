from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class TradingConfig(AppConfig):
    """Events, runs, orders, and the engine that executes them."""

    name = "trading"

    def ready(self) -> None:
        """Connect the audit trail, its reports and the standings. Update schedules and roles after each migration."""
        from trading.access import audit, fresh_code, sessions  # noqa: PLC0415 - models are not loaded earlier
        from trading.actions import safety_report  # noqa: PLC0415
        from trading.planning import standing_updates  # noqa: PLC0415

        audit.connect()
        fresh_code.connect()
        sessions.connect()
        safety_report.connect()
        standing_updates.connect()
        post_migrate.connect(_sync, sender=self, dispatch_uid="trading.sync")


def _sync(**_: Any) -> None:
    from trading.access.roles import sync_roles  # noqa: PLC0415 - models are not loaded earlier
    from trading.queue.schedules import sync_schedules  # noqa: PLC0415

    sync_schedules()
    sync_roles()
