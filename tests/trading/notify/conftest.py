"""Receivers of notifications on loopback."""

import threading
from collections.abc import Callable, Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from pydantic import SecretStr

from tests.support.makers import policy, queue, simulated_account
from trading.journal.outbox import notify_run_ended
from trading.models import Notification, RebalanceRun, Webhook


class Receiver:
    """An HTTP server that records requests and returns a status that can be set."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, Message, str]] = []
        self.status = 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                receiver.requests.append((self.path, self.headers, body))
                self.send_response(receiver.status)
                self.send_header("Location", "http://127.0.0.1:9/")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *args):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def make_receiver() -> Iterator[Callable[[], Receiver]]:
    made: list[Receiver] = []

    def make() -> Receiver:
        made.append(Receiver())
        return made[-1]

    yield make
    for receiver in made:
        receiver.close()


@pytest.fixture
def ntfy(make_receiver, settings) -> Receiver:
    """A server in place of ntfy, configured as the channel USER_NOTIFICATIONS_CHANNEL."""
    receiver = make_receiver()
    settings.USER_NOTIFICATIONS_ENABLED = True
    settings.USER_NOTIFICATIONS_CHANNEL = "my-rebalancer"
    settings.USER_NOTIFICATIONS_SERVER_URL = f"http://{receiver.address}"
    return receiver


@pytest.fixture
def apprise(make_receiver, settings) -> Receiver:
    """A server that is configured as the channel NOTIFICATION_URLS 1."""
    receiver = make_receiver()
    settings.NOTIFICATION_URLS = (SecretStr(f"json://user:hunter2@{receiver.address}/secret-topic"),)
    return receiver


@pytest.fixture
def hook(make_receiver, settings, db) -> Receiver:
    """A server that is configured as the webhook "mine"; private addresses are allowed."""
    settings.PRIVATE_NETWORK_ACCESS = True
    receiver = make_receiver()
    receiver.webhook = Webhook.objects.create(name="mine", url=f"http://{receiver.address}/hook")
    return receiver


@pytest.fixture
def notify(db) -> Callable[..., Notification | None]:
    """Makes a run with these fields, and the notification about it. Its outcome follows its state unless it is given."""

    def make(**fields: object) -> Notification | None:
        run = queue(simulated_account(f"U{RebalanceRun.objects.count()}", {"SPY": "1"}, policy=policy()))
        state = str(fields["state"])
        outcome = {"completed": "done", "superseded": ""}.get(state, state)
        RebalanceRun.objects.filter(pk=run.pk).update(**{"outcome": outcome, **fields})
        run.refresh_from_db()
        notify_run_ended(run)
        return Notification.objects.order_by("-id").first()

    return make
