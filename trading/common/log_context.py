"""Log lines carry their account and strategy, and never contain a secret."""

import json
import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from urllib.parse import quote

from django.conf import settings
from django.core.signals import setting_changed
from pythonjsonlogger.json import JsonFormatter

_context: ContextVar[tuple[str, str, str]] = ContextVar("account, strategy and run", default=("", "", ""))
SHORTEST_SECRET = 6
"""Minimum length of a redacted secret, in characters. A shorter one would also remove ordinary words."""
SHORTEST_SECRET_IN_PAGES = 12
"""The same for pages: a weak database password must not remove ordinary words from a page."""
SHORTEST_TOKEN = 10
HOST = re.compile(r"[\w-]+(\.[\w-]+)+(:\d+)?|localhost(:\d+)?")
API_TOKEN = re.compile(r"\brbt_[A-Za-z0-9_-]{20,}")
"""A token of our own API. Only digests are stored, so tokens are recognized by their form."""


@contextmanager
def log_context(account_id: str, strategy: str, run_id: str = "") -> Iterator[None]:
    """Add account, strategy and run to every log line of the block, in this task and in tasks that it starts."""
    token = _context.set((account_id, strategy, run_id))
    try:
        yield
    finally:
        _context.reset(token)


class RunContextFilter(logging.Filter):
    """Add `[ACCOUNT:<id>] [STRATEGY:<name>] ` to each record as `context`, so that operators can grep for it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields; never drop a record."""
        account_id, strategy, run_id = _context.get()
        parts = [f"[ACCOUNT:{account_id}] "] if account_id else []
        parts += [f"[STRATEGY:{strategy}] "] if strategy else []
        record.__dict__.update(account_id=account_id, strategy=strategy, run_id=run_id, context="".join(parts))
        return True


@cache
def configured_secrets(shortest: int = SHORTEST_SECRET) -> tuple[str, ...]:
    """Return every secret in the settings and the secret parts of keys and URLs, longest first.

    Cached for the life of the process, because every log line and every page needs it.
    """
    whole = [settings.ALLOCATIONS_API_KEY, settings.REALTIME_API_KEY, settings.DATABASE_URL, settings.METRICS_TOKEN]
    found = {settings.SECRET_KEY, settings.DATABASES["default"].get("PASSWORD") or ""}
    for value in (secret.get_secret_value() for secret in (*whole, *settings.NOTIFICATION_URLS)):
        # Also percent-encoded, as in a URL, and escaped, as in JSON.
        found |= {value, quote(value, safe=""), json.dumps(value)[1:-1]}
    found |= set(settings.REALTIME_API_KEY.get_secret_value().split(":"))
    found |= set(settings.CREDENTIALS_KEY.get_secret_value().split(","))
    for url in settings.NOTIFICATION_URLS:
        found |= _tokens_in(url.get_secret_value())
    return tuple(sorted((secret for secret in found if len(secret) >= shortest), key=len, reverse=True))


# Only tests change a setting while the process runs.
setting_changed.connect(lambda **_: configured_secrets.cache_clear(), weak=False)


def _tokens_in(url: str) -> set[str]:
    """Return the parts of a notification URL that are long enough to be a token.

    Services put tokens in any part of the URL. Host names with a dot and short path segments are not tokens.
    """
    parts = re.split(r"[/?&=@]+", url.partition("://")[2])
    tokens = {part for part in parts if len(part) >= SHORTEST_TOKEN and not HOST.fullmatch(part)}
    return tokens | {piece for token in tokens for piece in token.split(":") if len(piece) >= SHORTEST_TOKEN}


def redact(text: str) -> str:
    """Replace every configured secret and API token in the text with `[redacted]`."""
    for secret in configured_secrets():
        text = text.replace(secret, "[redacted]")
    return API_TOKEN.sub("[redacted]", text)


class _Redacting(logging.Formatter):
    """Redact the finished line, including its traceback and extra fields. Times have an offset from UTC."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - the name of logging
        """Return the local time with milliseconds and offset, such as `2026-11-24 10:00:00,123-0500`."""
        moment = time.localtime(record.created)
        return f"{time.strftime('%Y-%m-%d %H:%M:%S', moment)},{record.msecs:03.0f}{time.strftime('%z', moment)}"

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without secrets."""
        return redact(super().format(record))


class TextFormatter(_Redacting):
    """Format text lines, for operators who grep."""


class JsonLines(_Redacting, JsonFormatter):
    """Format JSON lines, for log collectors."""
