"""`manage.py demo`: everything from nothing to a running, seeded site on the simulated broker."""

import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from trading.management.demo_data import PASSWORD, USERS, seed

STOP_SECONDS = 15


class Command(BaseCommand):
    """Seeds the database and runs web and workers until Ctrl-C."""

    help = "Prepares and seeds the database, and runs the site and its workers on the simulated broker."

    def add_arguments(self, parser: CommandParser) -> None:
        """The command line."""
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--seed-only", action="store_true", help="prepare and seed, start nothing")

    def handle(self, *_: Any, **options: Any) -> None:
        """Runs until it is told to stop, or a part dies."""
        if settings.TRADING_MODE != "paper":
            raise CommandError("The demo runs with TRADING_MODE=paper only.")
        _check_port(options["port"])
        call_command("migrate", verbosity=0)
        call_command("collectstatic", interactive=False, verbosity=0)
        seed()
        if options["seed_only"]:
            return
        address = f"127.0.0.1:{options['port']}"
        parts = [
            subprocess.Popen(  # noqa: S603 - our own programs
                [
                    sys.executable,
                    "-m",
                    "gunicorn",
                    "rebalancer_site.wsgi",
                    "--bind",
                    address,
                    "--worker-class",
                    "gthread",
                    "--no-control-socket",
                    "--threads",
                    "8",
                    "--access-logfile",
                    "/dev/null",
                ]
            ),
            subprocess.Popen([sys.executable, "manage.py", "qworker"]),
        ]
        if settings.REALTIME_API_KEY.get_secret_value():
            parts.append(subprocess.Popen([sys.executable, "manage.py", "listen"]))
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        # Said aloud, since a shell that starts it in the background has it ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self.stdout.write(f"\nThe site runs at http://{address}/ — Ctrl-C ends it.")
        for name, what in USERS.items():
            self.stdout.write(f"  user {name}, password {PASSWORD}: {what}")
        self.stdout.flush()
        try:
            while all(part.poll() is None for part in parts):
                time.sleep(0.5)
            raise CommandError("A part of the demo has ended; see above.")
        except KeyboardInterrupt:
            pass
        finally:
            _end(parts)


def _check_port(port: int) -> None:
    """Before minutes of preparing: most likely something else runs on the usual port."""
    with socket.socket() as site:
        site.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            site.bind(("127.0.0.1", port))
        except OSError as error:
            words = f"Port {port} cannot be used ({error.strerror}). Take another: `make demo PORT=8001`."
            raise CommandError(words) from error


def _end(parts: list["subprocess.Popen[bytes]"]) -> None:
    """Ends all parts: kindly, then not."""
    for part in parts:
        if part.poll() is None:
            part.terminate()
    until = time.monotonic() + STOP_SECONDS
    for part in parts:
        try:
            part.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            part.kill()
    os.sync()
