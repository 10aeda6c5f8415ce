"""`manage.py alive`: the health check of one container, for the process that runs beside it."""

import socket
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from trading.monitoring.status import site_trouble, this_host_shows

KINDS = ("web", "worker", "listener")
UNWELL = 1


class Command(BaseCommand):
    """Ends with 1 when the process of this host does not do its work."""

    help = "Says whether the site, the worker or the listener of this host works; ends with 1 if not."
    requires_system_checks = ()
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        """The command line."""
        parser.add_argument("kind", choices=KINDS)
        parser.add_argument("--port", type=int, default=8000, help="where the site of this host listens")

    def handle(self, *_: Any, **options: Any) -> None:
        """Looks once."""
        kind, host = options["kind"], socket.gethostname()
        if kind == "web":
            trouble = site_trouble(options["port"])
        else:
            trouble = "" if this_host_shows(kind, host) else f"No {kind} of {host} has shown a sign of life lately."
        if trouble:
            raise CommandError(trouble, returncode=UNWELL)
        self.stdout.write(f"The {kind} of {host} is well.")
