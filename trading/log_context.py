"""Log lines say which account and strategy they are about, and never a secret."""

import contextvars
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from pydantic import SecretStr

_account: contextvars.ContextVar[str] = contextvars.ContextVar("account", default="")
_strategy: contextvars.ContextVar[str] = contextvars.ContextVar("strategy", default="")
SHORTEST_SECRET = 6  # anything shorter would blot out ordinary words


@contextmanager
def log_context(account_id: str, strategy: str) -> Iterator[None]:
    """Marks every log line of the block, in this task and those it starts."""
    account_token, strategy_token = _account.set(account_id), _strategy.set(strategy)
    try:
        yield
    finally:
        _account.reset(account_token)
        _strategy.reset(strategy_token)


class RunContextFilter(logging.Filter):
    """Adds `[ACCOUNT:<id>] [STRATEGY:<name>] ` as `record.context`, for operators who grep for it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Never drops a line."""
        account_id, strategy = _account.get(), _strategy.get()
        parts = [f"[ACCOUNT:{account_id}] "] if account_id else []
        parts += [f"[STRATEGY:{strategy}] "] if strategy else []
        record.__dict__.update(account_id=account_id, strategy=strategy, context="".join(parts))
        return True


def configured_secrets() -> tuple[str, ...]:
    """Every secret that the installation was given."""
    given: list[SecretStr] = [settings.ALLOCATIONS_API_KEY, settings.REALTIME_API_KEY, *settings.NOTIFICATION_URLS]
    found: list[str] = [settings.SECRET_KEY, settings.DATABASES["default"].get("PASSWORD") or ""]
    found += [value.get_secret_value() for value in given]
    return tuple(secret for secret in found if len(secret) >= SHORTEST_SECRET)


def redact(text: str) -> str:
    """The text without any configured secret."""
    for secret in configured_secrets():
        text = text.replace(secret, "[redacted]")
    return text


class RedactingFilter(logging.Filter):
    """Replaces every configured secret in a line and in its traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Never drops a line."""
        message = record.getMessage()
        clean = redact(message)
        if clean != message:
            record.msg, record.args = clean, None
        if record.exc_info and not record.exc_text:
            record.exc_text = redact(logging.Formatter().formatException(record.exc_info))
        return True
