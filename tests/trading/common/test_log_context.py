"""Lines of the log: the time has an offset, so that lines of several hosts can be compared."""

import logging
import re

import pytest

from rebalancer_site.logging import logging_config
from trading.common.log_context import JsonLines, RunContextFilter, TextFormatter, log_context


@pytest.mark.parametrize("form", ["text", "json"])
def test_time_of_a_line_has_an_offset_from_utc(form):
    config = logging_config("INFO", form)["formatters"][form]
    formatter = TextFormatter(config["fmt"]) if form == "text" else JsonLines(config["fmt"])
    record = logging.LogRecord("x", logging.INFO, "f", 1, "Hello", None, None)
    record.created, record.msecs = 1795532400.25, 250
    with log_context("U1", "growth"):
        RunContextFilter().filter(record)
    line = formatter.format(record)
    assert re.search(r"2026-11-24 \d\d:\d\d:\d\d,250[+-]\d{4}", line)
    if form == "text":
        assert line.endswith("] [ACCOUNT:U1] [STRATEGY:growth] [INFO] Hello")
