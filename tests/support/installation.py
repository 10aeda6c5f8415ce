"""A separate installation: a database, an environment, and real processes started as an operator would."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TERMINAL = {"completed", "refused", "failed", "needs_attention", "superseded", "deferred"}
POLL_SECONDS = 0.05


class Installation:
    """Runs `manage.py` with its own settings and database."""

    def __init__(self, directory, database_url, **environment):
        self.directory = directory
        clean = {key: value for key, value in os.environ.items() if key in {"PATH", "HOME", "LANG", "TMPDIR"}}
        self.environment = clean | {
            "REBALANCER_ENV_FILE": "",
            "VAR_DIR": str(directory),
            "DATABASE_URL": database_url,
            "SECRET_KEY": "test-secret-key-of-an-installation",
            "TRADING_MODE": "paper",
            "MARKET_CALENDAR": "always_open",
            "LEASE_TTL_SECONDS": "2",
            "SWEEP_SECONDS": "0.5",
            "ORDER_SETTLE_SECONDS": "0.5",
            **environment,
        }
        self.processes = []
        self._console = None

    def manage(self, *arguments, expect=0, stdin=None):
        """Run one command, wait for its end and assert its exit code."""
        done = subprocess.run(
            [sys.executable, "manage.py", *map(str, arguments)],
            cwd=ROOT,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == expect, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def python(self, code):
        """Run statements inside Django and return what they print."""
        return self.request({"code": code})["printed"].strip()

    def evaluate(self, code):
        """Run statements inside Django and return their variable `answer`."""
        return self.request({"code": code})["answer"]

    def request(self, request):
        """Send one request to the process of `tests.support.console`, which is faster than a new process each time."""
        if self._console is None:
            log = (self.directory / "console.log").open("a")
            self._console = subprocess.Popen(
                [sys.executable, "-m", "tests.support.console"],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
            log.close()
            self.processes.append(self._console)
        print(json.dumps(request), file=self._console.stdin, flush=True)
        reply = json.loads(self._console.stdout.readline())
        assert "error" not in reply, reply.get("error")
        return reply

    def start(self, *arguments):
        """Start a long-running command in its own process group."""
        log = (self.directory / f"{arguments[0]}-{len(self.processes)}.log").open("w")
        process = subprocess.Popen(
            [sys.executable, "manage.py", *map(str, arguments)],
            cwd=ROOT,
            env=self.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        log.close()
        self.processes.append(process)
        return process

    def kill(self, process, number=signal.SIGKILL):
        """Send a signal to a process and all its children, and wait for its end."""
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            pass
        process.wait(30)

    def close(self):
        """End all started processes."""
        for process in self.processes:
            self.kill(process)
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()

    def logs(self):
        """Return the output of the long-running commands."""
        found = [*self.directory.glob("supervised-*/log"), *sorted(self.directory.glob("*.log"))]
        return "\n".join(path.read_text() for path in found)

    def runs(self, account):
        """Return the account's runs, newest first, as `runs --json` prints them."""
        return self._printed("runs", "--account", account)

    def events(self):
        """Return the events of the inbox, newest first."""
        return self._printed("events")

    def _printed(self, *command):
        code = f"from django.core.management import call_command; call_command(*{command!r}, '--json')"
        return json.loads(self.python(code))

    def wait_for(self, condition, what, seconds=60):
        """Wait until the condition returns something true, and return that. A failure shows the logs."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if found := condition():
                return found
            time.sleep(POLL_SECONDS)
        raise AssertionError(f"{what} did not happen within {seconds} seconds.\n{self.logs()[-6000:]}")

    def finished_run(self, account, index=0):
        """Wait until the account's newest run (or an older one) has ended and return it."""

        def finished():
            runs = self.runs(account)
            return runs[index] if len(runs) > index and runs[index]["state"] in TERMINAL else None

        return self.wait_for(finished, f"The end of a run of {account}")
