"""The REST endpoints: time, history in pages, publishing, tokens."""

import json
import time
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import msgpack

from tests.support.ably_server.connection import error
from tests.support.ably_server.store import milliseconds

MAX_PAGE_SIZE = 1000


class Rest:
    """Handles requests, one at a time."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.store = server.store

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> Any:
        """Return status, body and headers of the response to a request."""
        path, query = urlsplit(target).path, {k: v[-1] for k, v in parse_qs(urlsplit(target).query).items()}
        content = self._content(headers, body)
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if self.server.rest_status:
            return self.server.rest_status, {"error": error(50000, "Internal error", self.server.rest_status)}, {}
        if parts == ["time"]:
            return 200, [milliseconds(time.time())], {}
        if parts[0] == "keys" and parts[-1] == "requestToken":
            token = self.store.issue_token(content)
            return (201, token, {}) if token else (401, {"error": error(40101, "Unknown key or mac", 401)}, {})
        key = self.store.key_of(headers.get("authorization"))
        if key is None:
            code = 40142 if headers.get("authorization", "").startswith("Bearer") else 40101
            return 401, {"error": error(code, "Unknown credentials", 401)}, {}
        if parts[0] == "channels" and parts[-1] == "messages":
            return self._messages(method, key, "/".join(parts[1:-1]), query, content)
        return 404, {"error": error(40400, "Not found", 404)}, {}

    def _messages(self, method: str, key: Any, channel: str, query: dict[str, str], content: Any) -> Any:
        needed = "publish" if method == "POST" else "history"
        if needed not in self.store.capability(key, channel):
            return 401, {"error": error(40160, f"{needed} denied on {channel}", 401)}, {}
        if method == "POST":
            self.server.publish_here(channel, content if isinstance(content, list) else [content])
            return 201, {"channel": channel}, {}
        return self._history(channel, query)

    def _history(self, name: str, query: dict[str, str]) -> Any:
        now = time.time()
        oldest = milliseconds(now - self.store.retention_seconds)
        start, end = int(query.get("start", 0)), int(query.get("end", milliseconds(now + 60)))
        found = self.store.channel(name).history(start, end, oldest)
        if query.get("direction", "backwards") == "backwards":
            found = found[::-1]
        limit, first = min(int(query.get("limit", 100)), self.server.max_page_size), int(query.get("from", 0))
        page, left = found[first : first + limit], len(found) - first - limit
        self.server.count("history")
        if left <= 0:
            return 200, page, {}
        following = urlencode(query | {"from": first + limit})
        return 200, page, {"Link": f'<./messages?{following}>; rel="next"'}

    @staticmethod
    def _content(headers: Any, body: Any) -> Any:
        if not body:
            return None
        return msgpack.unpackb(body) if "msgpack" in headers.get("content-type", "") else json.loads(body)


def encode(content: Any, accept: str) -> tuple[bytes, str]:
    """Return the body in the requested format, and its content type."""
    if "msgpack" in accept:
        return msgpack.packb(content), "application/x-msgpack"
    return json.dumps(content).encode(), "application/json"
