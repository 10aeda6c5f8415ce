"""Fixtures of the fault tests."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.faults.rig import Rig

QUICK = {"LEASE_TTL_SECONDS": "1", "ORDER_SETTLE_SECONDS": "0.2", "SWEEP_SECONDS": "0.2", "LOG_LEVEL": "INFO"}


@pytest.fixture(scope="module")
def new_rig(new_installation):
    """Return a function that makes rigs with short leases."""

    def make(**environment):
        return Rig(new_installation(**(QUICK | environment)))

    return make


@pytest.fixture(scope="module")
def channel():
    """A notification server on loopback: its URL and the messages that it has received."""
    received = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", received
    server.shutdown()
    server.server_close()
