"""A separate installation: a database, an environment, and real processes started as an operator would."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TERMINAL = {"completed", "refused", "failed", "needs_attention", "superseded", "deferred"}
POLL_SECONDS = 0.05


class Installation:
    """Runs `manage.py` with its own settings and database."""

    def __init__(self, directory: Path, database_url: str, **environment: str) -> None:
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
        self.processes: list[subprocess.Popen[Any]] = []
        self._console: subprocess.Popen[str] | None = None

    def manage(self, *arguments: str, expect: Any = 0, stdin: Any = None, seconds: float = 100) -> Any:
        """Run one command, wait for its end and assert its exit code."""
        done = subprocess.run(
            [sys.executable, "manage.py", *map(str, arguments)],
            cwd=ROOT,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        assert done.returncode == expect, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def command(self, *arguments: str) -> str:
        """Run one command inside Django and return what it prints; `manage` does it as a user would, and takes longer."""
        return self.python(f"from django.core.management import call_command; call_command(*{arguments!r})")

    def python(self, code: str) -> str:
        """Run statements inside Django and return what they print."""
        return str(self.request({"code": code})["printed"]).strip()

    def evaluate(self, code: str) -> Any:
        """Run statements inside Django and return their variable `answer`."""
        return self.request({"code": code})["answer"]

    def request(self, request: Any) -> Any:
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
        assert self._console.stdout is not None
        reply = json.loads(self._console.stdout.readline())
        assert "error" not in reply, reply.get("error")
        return reply

    def start(self, *arguments: str) -> Any:
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

    def kill(self, process: Any, number: int = signal.SIGKILL) -> None:
        """Send a signal to a process and all its children, and wait for its end."""
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            pass
        process.wait(30)

    def close(self) -> None:
        """End all started processes."""
        for process in self.processes:
            self.kill(process)
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()

    def logs(self) -> str:
        """Return the output of the long-running commands."""
        found = [*self.directory.glob("supervised-*/log"), *sorted(self.directory.glob("*.log"))]
        return "\n".join(path.read_text() for path in found)

    def runs(self, account: Any) -> list[Any]:
        """Return the account's runs, newest first, as `runs --json` prints them."""
        return self._printed("runs", "--account", account)

    def events(self) -> list[Any]:
        """Return the events of the inbox, newest first."""
        return self._printed("events")

    def _printed(self, *command: str) -> list[Any]:
        return list(json.loads(self.command(*command, "--json")))

    def wait_for(self, condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
        """Wait until the condition returns something true, and return that. A failure shows the logs."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if found := condition():
                return found
            time.sleep(POLL_SECONDS)
        raise AssertionError(f"{what} did not happen within {seconds} seconds.\n{self.logs()[-6000:]}")

    def finished_run(self, account: Any, index: int = 0) -> Any:
        """Wait until the account's newest run (or an older one) has ended and return it."""

        def finished() -> Any:
            runs = self.runs(account)
            return runs[index] if len(runs) > index and runs[index]["state"] in TERMINAL else None

        return self.wait_for(finished, f"The end of a run of {account}")
