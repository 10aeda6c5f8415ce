"""Admin of tables that only the program writes."""

from typing import Any

from django.http import HttpRequest


class ReadOnlyMixin:
    """Refuse changes. These tables grow without limit, so that their lists count the rows once, not twice."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse it."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse it."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse it."""
        return False
