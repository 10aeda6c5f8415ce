"""Admin of tables that only the program writes."""

from typing import Any

from django.http import HttpRequest


class ReadOnlyMixin:
    """Refuse changes. These tables can have many rows, so their lists count only the filtered rows."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse every change."""
        return False

    has_change_permission = has_delete_permission = has_add_permission
