"""Types of the fields of a YAML file. They judge text that the loader has left as it is written."""

import re
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator

from accounts.refusal_text import quoted

_KINDS = {bool: "true or false", list: "a list", dict: "a mapping"}
_NUMBER = re.compile(r"[+-]?(\d[\d_]*\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_LEADING_ZERO = re.compile(r"[+-]?0[\d_]+", re.ASCII)


def _text(value: object) -> object:
    """Return a number as it is written: the loader keeps every digit of the numbers that it recognizes."""
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return str(value)
    if type(value) in _KINDS:
        raise ValueError(f"is {_KINDS[type(value)]}; put text in quotes")
    return value


def _number(value: object) -> object:
    if type(value) in _KINDS:
        raise ValueError(f"is {_KINDS[type(value)]}, not a number")
    if not isinstance(value, str):
        return value
    if not _NUMBER.fullmatch(value) or _LEADING_ZERO.fullmatch(value):
        raise ValueError(f"{quoted(value)} is not a decimal number; write it as 10 or 2.5")
    return value.replace("_", "")


Text = Annotated[str, BeforeValidator(_text)]
"""Text; a number stands for its digits."""
Number = Annotated[Decimal, BeforeValidator(_number)]
"""A decimal number. A number that begins with 0 is refused, because other readers of YAML take it as octal."""
