"""For what is written by the program, and looked at by people."""

from typing import Any

from django.http import HttpRequest


class ReadOnlyMixin:
    """Written by the journal only; these tables grow for ever, so their lists count the rows once, not twice."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody."""
        return False
