"""`manage.py demo`: set up and run a site with sample data on the simulated broker."""

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

GUNICORN_OPTIONS = "--worker-class gthread --threads 8 --no-control-socket --access-logfile /dev/null"
STOP_SECONDS = 15


class Command(BaseCommand):
    help = "Migrate, create sample data, and run the site and its workers on the simulated broker."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="port of the site (default: 8000)")
        parser.add_argument("--seed-only", action="store_true", help="migrate and create sample data only")

    def handle(self, *_: Any, **options: Any) -> None:
        if settings.TRADING_MODE != "paper":
            raise CommandError("The demo requires TRADING_MODE=paper.")
        _check_port(options["port"])
        call_command("migrate", verbosity=0)
        call_command("collectstatic", interactive=False, verbosity=0)
        seed()
        if options["seed_only"]:
            return
        address = f"127.0.0.1:{options['port']}"
        site = f"-m gunicorn rebalancer_site.wsgi --bind {address} {GUNICORN_OPTIONS}".split()
        processes = [_start(*site), _start("manage.py", "qworker")]
        if settings.REALTIME_API_KEY.get_secret_value():
            processes.append(_start("manage.py", "listen"))
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        # Set explicitly, because a shell ignores SIGINT for background processes.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self.stdout.write(f"\nThe site runs at http://{address}/ (Ctrl-C to stop).")
        for name, what in USERS.items():
            self.stdout.write(f"  user {name}, password {PASSWORD}: {what}")
        self.stdout.flush()
        try:
            while all(process.poll() is None for process in processes):
                time.sleep(0.5)
            raise CommandError("A process of the demo ended. See its output above.")
        except KeyboardInterrupt:
            pass
        finally:
            _stop(processes)


def _check_port(port: int) -> None:
    """Check the port before the setup, which takes minutes. The default port is often in use."""
    with socket.socket() as site:
        site.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            site.bind(("127.0.0.1", port))
        except OSError as error:
            message = f"Port {port} cannot be used ({error.strerror}). Use another: `make demo PORT=8001`."
            raise CommandError(message) from error


def _start(*arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, *arguments])  # noqa: S603 - our own programs


def _stop(processes: list["subprocess.Popen[bytes]"]) -> None:
    """Terminate all processes, and kill those that do not end in time."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    until = time.monotonic() + STOP_SECONDS
    for process in processes:
        try:
            process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
    os.sync()
