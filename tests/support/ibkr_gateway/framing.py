"""Frames of the TWS socket protocol: a length of four bytes, then fields that each end with a zero byte."""

import asyncio
import struct
from decimal import Decimal


def text(value: object) -> str:
    """Return a field in the format of the protocol."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, Decimal):
        return f"{value:f}"
    return str(value)


def frame(*fields: object) -> bytes:
    """Return one message for the socket."""
    body = "".join(f"{text(field)}\0" for field in fields).encode()
    return struct.pack(">I", len(body)) + body


async def read_fields(reader: asyncio.StreamReader) -> list[str]:
    """Read the fields of the next message."""
    (length,) = struct.unpack(">I", await reader.readexactly(4))
    body = (await reader.readexactly(length)).decode()
    return body.split("\0")[:-1]


async def read_greeting(reader: asyncio.StreamReader) -> str:
    """Read the client's first message, and return the options after its range of versions."""
    if await reader.readexactly(4) != b"API\0":
        raise ConnectionError("The first message is not one of an API client.")
    (length,) = struct.unpack(">I", await reader.readexactly(4))
    versions, _, options = (await reader.readexactly(length)).decode().removeprefix("v").partition(" ")
    lowest, highest = versions.split("..")
    if int(lowest) > int(highest):
        raise ConnectionError(f"There is no version between {lowest} and {highest}.")
    return options
