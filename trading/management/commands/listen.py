"""`manage.py listen`: receive the events of all enabled strategies from Ably."""

import asyncio
import signal
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from trading.listener.config import ListenerConfig, configured
from trading.listener.listener import Listener
from trading.management.lookup import USAGE


class Command(BaseCommand):
    help = "Receive the events of all enabled strategies from Ably. Runs until SIGTERM or Ctrl-C."

    def handle(self, *_: Any, **__: Any) -> None:
        config = configured()
        if not config.key.get_secret_value():
            raise CommandError("REALTIME_API_KEY is not set. Set it to an Ably API key.", returncode=USAGE)
        asyncio.run(_listen(config))


async def _listen(config: ListenerConfig) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await Listener(config).run(stop)
