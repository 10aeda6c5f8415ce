"""Requests to addresses that people configure: where they may go is decided when the name has been resolved.

A name can mean another address a moment later, and one address has many spellings (127.1, 0x7f000001,
::ffff:127.0.0.1). So the check looks at the addresses themselves, and the connection is made to the very address
that was checked.
"""

import ipaddress
import socket
from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import urlsplit

import anyio
import httpcore
import httpx
from django.conf import settings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
NAT64 = ipaddress.ip_network("64:ff9b::/96")


class ForbiddenAddress(Exception):  # noqa: N818 - a refusal, not a defect
    """Nothing is sent there; the sentence says why."""


def check_url(url: str, *, allow_loopback: bool = True) -> None:
    """What can be said of an address before its name is resolved.

    Raises:
        ForbiddenAddress: it is neither https, nor plain http to this machine itself where that is allowed.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.username or parts.password:
        raise ForbiddenAddress("The address holds a user name or password.")
    if parts.scheme == "https" and host and (allow_loopback or not is_loopback_name(host)):
        return
    if parts.scheme == "http" and host and allow_loopback and is_loopback_name(host):
        return
    here = " (plain http to this machine only)" if allow_loopback else ""
    raise ForbiddenAddress(f"The address must be https{here}.")


def is_loopback_name(host: str) -> bool:
    """Whether the host, as it is written, is this machine: `localhost`, or any spelling of a loopback address."""
    if host.lower().rstrip(".") == "localhost":
        return True
    literal = _literal(host)
    return literal is not None and literal.is_loopback


def _literal(host: str) -> Address | None:
    """The address that a host without a name is, in any spelling that the system's resolver takes."""
    try:
        return unwrapped(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))  # 127.1, 0x7f000001, 2130706433, 0177.0.0.1
    except OSError:
        return None


def unwrapped(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one that only carries it."""
    if isinstance(address, ipaddress.IPv6Address):
        if inner := address.ipv4_mapped or address.sixtofour:
            return inner
        if address in NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def check_addresses(host: str, addresses: Iterable[str], *, allow_loopback: bool) -> list[str]:
    """Refuses a host if any of its addresses may not be gone to.

    Returns:
        The addresses to connect to, those of IPv4 first.

    Raises:
        ForbiddenAddress: one is not public, and nothing allows it.
    """
    found = list(dict.fromkeys(addresses))
    for text in found:
        address = unwrapped(ipaddress.ip_address(text.partition("%")[0]))
        if address.is_loopback:
            # A name that leads here was not written by somebody who meant this machine.
            allowed = allow_loopback and is_loopback_name(host)
        elif address.is_link_local or address.is_multicast or address.is_unspecified or address.is_reserved:
            allowed = False  # a cloud's metadata service among them
        else:
            allowed = address.is_global or settings.PRIVATE_NETWORK_ACCESS
        if not allowed:
            raise ForbiddenAddress(f"{host} leads to {address}, which requests may not go to.")
    if not found:
        raise ForbiddenAddress(f"{host} has no address.")
    return sorted(found, key=lambda text: ":" in text)


class _CheckingBackend(httpcore.AnyIOBackend):
    """Resolves, checks, and connects to what was checked; TLS still asks for the name."""

    def __init__(self, *, allow_loopback: bool) -> None:
        self._allow_loopback = allow_loopback

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface of httpcore
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            with anyio.fail_after(timeout):
                found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ConnectError(f"{host} cannot be resolved: {error.strerror}") from error
        addresses = check_addresses(host, [str(entry[4][0]) for entry in found], allow_loopback=self._allow_loopback)
        for address in addresses[:-1]:
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return await super().connect_tcp(address, port, timeout, local_address, socket_options)
        return await super().connect_tcp(addresses[-1], port, timeout, local_address, socket_options)


class _CheckingTransport(httpx.AsyncHTTPTransport):
    def __init__(self, *, allow_loopback: bool) -> None:
        super().__init__(trust_env=False)
        # httpx has no public way to say how to connect; a test holds on to this one.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context(trust_env=False),
            network_backend=_CheckingBackend(allow_loopback=allow_loopback),
        )


def guarded_client(timeout_seconds: float, *, allow_loopback: bool = True) -> httpx.AsyncClient:
    """A client that follows no redirect, heeds no proxy variable, and connects to checked addresses only."""
    return httpx.AsyncClient(
        timeout=timeout_seconds,
        follow_redirects=False,
        trust_env=False,
        transport=_CheckingTransport(allow_loopback=allow_loopback),
    )
