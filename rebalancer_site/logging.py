"""Log lines as operators grep for them, and nothing secret in them."""

from typing import Any

LINE = "[%(asctime)s] %(context)s[%(levelname)s] %(message)s"


def logging_config(level: str, form: str) -> dict[str, Any]:
    """The `logging.config.dictConfig` of the whole project; lines go to standard error."""
    formatters: dict[str, dict[str, Any]] = {
        "text": {"format": LINE},
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "fmt": "%(asctime)s %(levelname)s %(name)s %(message)s %(account_id)s %(strategy)s",
            "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
        },
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": formatters,
        "filters": {
            "context": {"()": "trading.log_context.RunContextFilter"},
            "redact": {"()": "trading.log_context.RedactingFilter"},
        },
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": form,
                "filters": ["context", "redact"],
            }
        },
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # At INFO these print the key of a websocket URL, or one line a request.
            **{name: {"level": "WARNING"} for name in ("ably", "websockets", "httpx", "httpcore", "ib_async")},
            "django-q": {"level": level, "handlers": ["stderr"], "propagate": False},
        },
    }
