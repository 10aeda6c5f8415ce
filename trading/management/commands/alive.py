"""`manage.py alive`: the health check of one process of this host, for its container or supervisor."""

import socket
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from trading.monitoring.status import has_fresh_heartbeat, site_problem

KINDS = ("web", "worker", "listener")
UNHEALTHY = 1


class Command(BaseCommand):
    help = "Check the site, the worker or the listener of this host. Exits with 1 if it is unhealthy."
    requires_system_checks = ()
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("kind", choices=KINDS, help="process to check")
        parser.add_argument("--port", type=int, default=8000, help="port of the site (default: 8000)")

    def handle(self, *_: Any, **options: Any) -> None:
        kind, host = options["kind"], socket.gethostname()
        if kind == "web":
            problem = site_problem(options["port"])
        else:
            problem = "" if has_fresh_heartbeat(kind, host) else "no recent heartbeat"
        if problem:
            raise CommandError(f"{kind} on {host}: UNHEALTHY: {problem}", returncode=UNHEALTHY)
        self.stdout.write(f"{kind} on {host}: healthy")
