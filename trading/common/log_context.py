"""Log lines say which account and strategy they are about, and never a secret."""

import contextvars
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

from django.conf import settings
from pythonjsonlogger.json import JsonFormatter

_account: contextvars.ContextVar[str] = contextvars.ContextVar("account", default="")
_strategy: contextvars.ContextVar[str] = contextvars.ContextVar("strategy", default="")
_run: contextvars.ContextVar[str] = contextvars.ContextVar("run", default="")
SHORTEST_SECRET = 6  # anything shorter would blot out ordinary words
LONG_ENOUGH_FOR_PAGES = 12  # a weak database password must not tear holes into pages
SHORTEST_TOKEN = 10
HOST = re.compile(r"[\w-]+(\.[\w-]+)+(:\d+)?|localhost(:\d+)?")
OUR_TOKENS = re.compile(r"\brbt_[A-Za-z0-9_-]{20,}")
"""Tokens of our own API, whole: we keep digests only, and know them by their form."""


@contextmanager
def log_context(account_id: str, strategy: str, run_id: str = "") -> Iterator[None]:
    """Marks every log line of the block, in this task and those it starts."""
    tokens = _account.set(account_id), _strategy.set(strategy), _run.set(run_id)
    try:
        yield
    finally:
        for variable, token in zip((_account, _strategy, _run), tokens, strict=True):
            variable.reset(token)


class RunContextFilter(logging.Filter):
    """Adds `[ACCOUNT:<id>] [STRATEGY:<name>] ` as `record.context`, for operators who grep for it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Never drops a line."""
        account_id, strategy = _account.get(), _strategy.get()
        parts = [f"[ACCOUNT:{account_id}] "] if account_id else []
        parts += [f"[STRATEGY:{strategy}] "] if strategy else []
        record.__dict__.update(account_id=account_id, strategy=strategy, run_id=_run.get(), context="".join(parts))
        return True


def configured_secrets(shortest: int = SHORTEST_SECRET) -> tuple[str, ...]:
    """Every secret that the installation was given, the parts that matter of those that have parts, longest first."""
    whole = [settings.ALLOCATIONS_API_KEY, settings.REALTIME_API_KEY, settings.DATABASE_URL, settings.METRICS_TOKEN]
    found = {settings.SECRET_KEY, settings.DATABASES["default"].get("PASSWORD") or ""}
    for value in (given.get_secret_value() for given in (*whole, *settings.NOTIFICATION_URLS)):
        # Quoted as in an address, and escaped as in JSON.
        found |= {value, quote(value, safe=""), json.dumps(value)[1:-1]}
    found |= set(settings.REALTIME_API_KEY.get_secret_value().split(":"))
    for url in settings.NOTIFICATION_URLS:
        found |= _tokens_in(url.get_secret_value())
    return tuple(sorted((secret for secret in found if len(secret) >= shortest), key=len, reverse=True))


def _tokens_in(url: str) -> set[str]:
    """What is long enough in a notification URL to be a token; services put them in any place of it.

    A host name with a dot is not one, and neither are the words of an ordinary path.
    """
    parts = re.split(r"[/?&=@]+", url.partition("://")[2])
    tokens = {part for part in parts if len(part) >= SHORTEST_TOKEN and not HOST.fullmatch(part)}
    return tokens | {piece for token in tokens for piece in token.split(":") if len(piece) >= SHORTEST_TOKEN}


def redact(text: str) -> str:
    """The text without any configured secret."""
    for secret in configured_secrets():
        text = text.replace(secret, "[redacted]")
    return OUR_TOKENS.sub("[redacted]", text)


class _Redacting(logging.Formatter):
    """Takes configured secrets out of the line as it is written, with its traceback and whatever came along."""

    def format(self, record: logging.LogRecord) -> str:
        """The line without secrets."""
        return redact(super().format(record))


class TextFormatter(_Redacting):
    """Lines for people who grep."""


class JsonLines(_Redacting, JsonFormatter):
    """Lines for programs."""
