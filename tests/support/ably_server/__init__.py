"""An Ably service on loopback: websocket and REST for the real SDK, with the faults of real networks."""

from tests.support.ably_server.server import AblyServer, Fault

__all__ = ["AblyServer", "Fault"]
