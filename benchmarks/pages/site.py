"""Run the site as it is deployed, a logged-in user who opens its pages, and processes that store events meanwhile."""

import os
import re
import signal
import socket
import subprocess
import sys
import time

import httpx

from benchmarks.installation.site import ROOT, START_SECONDS, until

ANSWER_SECONDS = 30
INTAKE = """
import sys, time, django
django.setup()
from trading.models import EventSource
from trading.inbox.receive import receive_event

first, step, rate, accounts = map(float, sys.argv[1:])
began, number = time.monotonic(), int(first)
print("ready", flush=True)
while True:
    ahead = began + number / rate - time.monotonic()
    if ahead > 0:
        time.sleep(ahead)
    name = f"SEED-{number % int(accounts):05}"
    receive_event(source=EventSource.ABLY, channel=f"strategy-{number % int(accounts) % 20:02}",
                  message_id=f"{began}-{number}", payload={"exec": "rebalance", "account_id": name})
    number += int(step)
"""


class Site:
    """gunicorn with the options of the image, and a logged-in user."""

    def __init__(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        command = "-m gunicorn rebalancer_site.wsgi --worker-class gthread --workers 2 --threads 8 --no-control-socket"
        self._process = subprocess.Popen(
            [sys.executable, *command.split(), "--log-level", "error", "--bind", self.url.removeprefix("http://")],
            cwd=ROOT,
            start_new_session=True,
        )
        self._client = httpx.Client(base_url=self.url, timeout=ANSWER_SECONDS, trust_env=False)
        until(self._answers, START_SECONDS, "The start of the site")
        self._log_in()

    def _answers(self):
        try:
            return self._client.get("/healthz").status_code < 599
        except httpx.TransportError:
            return False

    def _log_in(self):
        form = self._client.get("/admin/login/").text
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form).group(1)
        answer = self._client.post(
            "/admin/login/?next=/", data={"username": "bench", "password": "bench", "csrfmiddlewaretoken": token}
        )
        assert answer.status_code == 302, answer.text

    def open(self, address):
        """Return the time until the page is received completely, in milliseconds."""
        began = time.perf_counter()
        answer = self._client.get(address)
        took = (time.perf_counter() - began) * 1000
        assert answer.status_code == 200, (address, answer.status_code)
        return took

    def close(self):
        self._client.close()
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(30)


class Intake:
    """Processes that together store `rate` events per second, each event for one account."""

    def __init__(self, rate, accounts, processes=2):
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-c", INTAKE, str(number), str(processes), str(rate), str(accounts)],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
            for number in range(processes)
        ]
        for process in self._processes:
            process.stdout.readline()
        self._before, self._began = self._events(), time.monotonic()

    @staticmethod
    def _events():
        from trading.models import StrategyEvent

        return StrategyEvent.objects.count()

    def close(self):
        """Stop the processes and return the number of events stored per second."""
        rate = (self._events() - self._before) / (time.monotonic() - self._began)
        for process in self._processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
            process.stdout.close()
        return rate
