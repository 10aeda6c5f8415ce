"""`manage.py listen`: takes the events of all strategies in, as Ably brings them."""

import asyncio
import signal
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from trading.listener.config import ListenerConfig, configured
from trading.listener.listener import Listener

USAGE = 2


class Command(BaseCommand):
    """Listens until it is told to stop."""

    help = "Listens to the channels of all enabled strategies and takes their events in."

    def handle(self, *_: Any, **__: Any) -> None:
        """Runs until SIGTERM or Ctrl-C."""
        config = configured()
        if not config.key.get_secret_value():
            raise CommandError("REALTIME_API_KEY is not set: there is nothing to listen to.", returncode=USAGE)
        asyncio.run(_listen(config))


async def _listen(config: ListenerConfig) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await Listener(config).run(stop)
