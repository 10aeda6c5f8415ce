"""An allocations service on loopback: a real HTTP server that can also misbehave."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class AllocationsServer:
    """Serves what tests publish: allocations by strategy, or any status and body."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.requests: list[Any] = []
        self.release = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append((self.path, self.headers.get("x-api-key")))
                name = self.path.strip("/").split("/")[0]
                status, body, headers = outer.answers.get(name, (404, b"{}", {}))
                if callable(body):
                    status, body = body()
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                try:
                    self.wfile.write(body)
                except OSError:
                    pass  # the client had enough

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def publish(self, strategy: Any, weights: Any) -> None:
        """Publishes targets, pairs of symbol and weight."""
        rows = [{"ticker": symbol, "allocation": weight} for symbol, weight in weights]
        self.answer(
            strategy, 200, json.dumps({"status": "success", "data": {"strategy": strategy, "allocations": rows}})
        )

    def answer(self, strategy: Any, status: int, body: Any, headers: Any = None) -> None:
        """Answers with this status and body, or with what a callable returns."""
        self.answers[strategy] = (status, body.encode() if isinstance(body, str) else body, headers or {})

    def hang(self, strategy: Any) -> Any:
        """Answers only after the test is over."""

        def wait() -> Any:
            self.release.wait(30)
            return 200, b"{}"

        self.answers[strategy] = (200, wait, {})

    def reset(self) -> None:
        """Forgets everything, and lets those that hang go."""
        self.release.set()
        self.release = threading.Event()
        self.answers.clear()
        self.requests.clear()

    def __enter__(self) -> Self:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        self.server.shutdown()
        self.server.server_close()
