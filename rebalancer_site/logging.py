"""Logging configuration: lines that operators can grep, without secrets."""

from typing import Any

LINE = "[%(asctime)s] %(context)s[%(levelname)s] %(message)s"


def logging_config(level: str, form: str) -> dict[str, Any]:
    """Return the configuration of the whole project for `logging.config.dictConfig`. Lines go to standard error."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "text": {"()": "trading.common.log_context.TextFormatter", "fmt": LINE},
            "json": {
                "()": "trading.common.log_context.JsonLines",
                "fmt": "%(asctime)s %(levelname)s %(name)s %(message)s %(account_id)s %(strategy)s %(run_id)s",
                "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
            },
        },
        "filters": {"context": {"()": "trading.common.log_context.RunContextFilter"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": form, "filters": ["context"]}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # At level INFO these log the key in a websocket URL, or one line per request.
            **{name: {"level": "WARNING"} for name in ("ably", "axes", "websockets", "httpx", "httpcore", "ib_async")},
            # Django's own handlers would write the lines again, without redaction.
            **{name: {"level": level, "handlers": [], "propagate": True} for name in ("django", "django.server")},
            "django-q": {"level": level, "handlers": ["stderr"], "propagate": False},
        },
    }
