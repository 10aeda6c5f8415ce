"""`manage.py settle`: an alias of `resolve` for existing installations."""

from trading.management.commands.resolve import Command

__all__ = ["Command"]
