"""Read request bodies before a request reaches Django: within a deadline, and in few threads at a time.

A client that sends its body slowly occupies a thread. Without these limits, as many such clients as the server has
threads would make every page unavailable, the kill switch included.
"""

import socket
import threading
from collections.abc import Iterable
from contextlib import suppress
from io import BytesIO
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

MAX_BODY_BYTES = 1_000_000
"""Largest accepted request body, in bytes; the proxy has the same limit."""
MAX_BODY_SECONDS = 10.0
"""Maximum time to receive a request body, in seconds."""
MAX_DIGITS = 12
"""Maximum number of digits of a Content-Length."""
MAX_READERS = 4
"""Number of bodies that a process reads at the same time: half of the threads of the documented gunicorn command."""


class _RefusedRequest(Exception):  # noqa: N818 - named by outcome
    """The request is answered without the application."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class BodyReader:
    """A WSGI application that passes complete requests on to another one."""

    def __init__(
        self,
        application: WSGIApplication,
        *,
        max_bytes: int = MAX_BODY_BYTES,
        max_seconds: float = MAX_BODY_SECONDS,
        max_readers: int = MAX_READERS,
    ) -> None:
        self._application = application
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._readers = threading.BoundedSemaphore(max_readers)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Pass a request without a body on at once, and one with a body when it is complete."""
        try:
            size = self._size(environ)
            if size:
                environ["wsgi.input"] = BytesIO(self._read_in_turn(environ, size))
        except _RefusedRequest as refusal:
            _stop_receiving(environ)  # otherwise the server waits for the rest of the body
            body = f"{refusal.message}\n".encode()
            headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
            start_response(refusal.status, headers)
            return [body]
        return self._application(environ, start_response)

    def _size(self, environ: WSGIEnvironment) -> int:
        """Return the size of the body in bytes."""
        if environ.get("HTTP_TRANSFER_ENCODING"):
            raise _RefusedRequest("411 Length Required", "Send the request with a Content-Length.")
        length = environ.get("CONTENT_LENGTH") or "0"
        if not (length.isascii() and length.isdigit()):
            raise _RefusedRequest("400 Bad Request", "Content-Length is not a number.")
        if len(length) > MAX_DIGITS or int(length) > self._max_bytes:
            raise _RefusedRequest("413 Content Too Large", f"A request may have at most {self._max_bytes:,} bytes.")
        return int(length)

    def _read_in_turn(self, environ: WSGIEnvironment, size: int) -> bytes:
        if not self._readers.acquire(blocking=False):
            raise _RefusedRequest(
                "503 Service Unavailable", "Too many requests are being received. Try again in a moment."
            )
        try:
            body = self._read(environ, size)
        finally:
            self._readers.release()
        if len(body) < size:
            raise _RefusedRequest("408 Request Timeout", "The request was not received completely.")
        return body

    def _read(self, environ: WSGIEnvironment, size: int) -> bytes:
        """Return the body, or its beginning if the rest does not arrive in time."""
        deadline = threading.Timer(self._max_seconds, _stop_receiving, [environ])
        deadline.daemon = True
        deadline.start()
        try:
            body: bytes = environ["wsgi.input"].read(size)
        except OSError:
            return b""
        finally:
            deadline.cancel()
        return body


def _stop_receiving(environ: WSGIEnvironment) -> None:
    """End the reading from the connection, also by another thread. The response can still be sent."""
    connection = environ.get("gunicorn.socket")
    if connection is not None:
        with suppress(OSError):  # the client has closed it
            connection.shutdown(socket.SHUT_RD)
