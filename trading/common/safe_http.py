"""HTTP requests to URLs that users configure. Protects internal addresses (server-side request forgery).

A name can resolve to another address a moment later, and one address has many spellings (127.1, 0x7f000001,
::ffff:127.0.0.1). Therefore the resolved addresses are checked, and the connection is made to a checked address.
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
    """The address is not allowed. No request was sent."""


def check_url(url: str, *, allow_loopback: bool = True) -> None:
    """Check a URL before its host name is resolved.

    Raises:
        ForbiddenAddress: the URL is neither https nor plain http to this machine where that is allowed, or it contains
            credentials.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise ForbiddenAddress("The address is not a URL. Check its host and port.") from error
    if parts.username or parts.password:
        raise ForbiddenAddress("The address contains a user name or password. Remove it.")
    if parts.scheme == "https" and host and (allow_loopback or not is_loopback_name(host)):
        return
    if parts.scheme == "http" and host and allow_loopback and is_loopback_name(host):
        return
    exception = " (plain http to this machine only)" if allow_loopback else ""
    raise ForbiddenAddress(f"The address must be https{exception}.")


def is_loopback_name(host: str) -> bool:
    """Return whether the host, as written, is `localhost` or any spelling of a loopback address."""
    if host.lower().rstrip(".") == "localhost":
        return True
    literal = _literal(host)
    return literal is not None and literal.is_loopback


def _literal(host: str) -> Address | None:
    """Return the address of a host that is written as an address, in any spelling that the system resolver accepts."""
    try:
        return unwrapped(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))  # 127.1, 0x7f000001, 2130706433, 0177.0.0.1
    except OSError:
        return None


def unwrapped(address: Address) -> Address:
    """Return the IPv4 address embedded in an IPv6 address, or the address itself."""
    if isinstance(address, ipaddress.IPv6Address):
        if inner := address.ipv4_mapped or address.sixtofour:
            return inner
        if address in NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def check_addresses(host: str, addresses: Iterable[str], *, allow_loopback: bool) -> list[str]:
    """Check the addresses that a host resolved to.

    Returns:
        The addresses to connect to, IPv4 first.

    Raises:
        ForbiddenAddress: there is no address, or one is not public and not allowed.
    """
    found = list(dict.fromkeys(addresses))
    for text in found:
        address = unwrapped(ipaddress.ip_address(text.partition("%")[0]))
        if address.is_loopback:
            # A name that resolves to loopback does not show that the user meant this machine.
            allowed = allow_loopback and is_loopback_name(host)
        elif address.is_link_local or address.is_multicast or address.is_unspecified or address.is_reserved:
            allowed = False  # includes the metadata services of cloud providers
        else:
            allowed = address.is_global or settings.PRIVATE_NETWORK_ACCESS
        if not allowed:
            raise ForbiddenAddress(f"{host} resolves to {address}, which is not allowed.")
    if not found:
        raise ForbiddenAddress(f"{host} has no address.")
    return sorted(found, key=lambda text: ":" in text)


class _CheckingBackend(httpcore.AnyIOBackend):
    """Resolves a host, checks its addresses, and connects to one of them. TLS still verifies the host name."""

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
        # httpx has no public interface for a network backend; a test covers this private one.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context(trust_env=False),
            network_backend=_CheckingBackend(allow_loopback=allow_loopback),
        )


def guarded_client(timeout_seconds: float, *, allow_loopback: bool = True) -> httpx.AsyncClient:
    """Return a client that follows no redirects, ignores proxy variables, and connects only to checked addresses."""
    return httpx.AsyncClient(
        timeout=timeout_seconds,
        follow_redirects=False,
        trust_env=False,
        transport=_CheckingTransport(allow_loopback=allow_loopback),
    )
