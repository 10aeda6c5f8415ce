"""Frames of the TWS socket protocol: a length of four bytes, then fields that each end with a zero byte."""

import asyncio
import struct
from decimal import Decimal


def text(value):
    """A field as the protocol writes it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, Decimal):
        return f"{value:f}"
    return str(value)


def frame(*fields):
    """One message, ready for the socket."""
    body = "".join(f"{text(field)}\0" for field in fields).encode()
    return struct.pack(">I", len(body)) + body


async def read_fields(reader: asyncio.StreamReader):
    """The fields of the next message."""
    (length,) = struct.unpack(">I", await reader.readexactly(4))
    body = (await reader.readexactly(length)).decode()
    return body.split("\0")[:-1]


async def read_greeting(reader: asyncio.StreamReader):
    """The options of the client's first words; before them is the range of versions that it speaks."""
    if await reader.readexactly(4) != b"API\0":
        raise ConnectionError("This is no API client.")
    (length,) = struct.unpack(">I", await reader.readexactly(4))
    versions, _, options = (await reader.readexactly(length)).decode().removeprefix("v").partition(" ")
    lowest, highest = versions.split("..")
    if int(lowest) > int(highest):
        raise ConnectionError(f"No version is between {lowest} and {highest}.")
    return options
