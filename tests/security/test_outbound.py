"""Where requests may go, whatever an address is called."""

import asyncio
import socket

import httpx
import pytest

from trading.common.safe_http import ForbiddenAddress, check_addresses, check_url, guarded_client, is_loopback_name
from trading.errors import RunFailed
from trading.planning.allocations import AllocationsClient

SPELLINGS = ("127.0.0.1", "127.1", "0x7f000001", "2130706433", "0177.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost")


@pytest.mark.parametrize("host", SPELLINGS)
def test_every_spelling_of_this_machine_is_this_machine(host):
    url = f"http://{host}:8000/x"
    check_url(url)
    with pytest.raises(ForbiddenAddress):
        check_url(url, allow_loopback=False)
    with pytest.raises(ForbiddenAddress):
        check_url(url.replace("http:", "https:"), allow_loopback=False)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "http://10.0.0.1/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "https://",
        "https://user:word@example.com/",
        "http://127.0.0.1.example.com/",
        "http://[::ffff:10.0.0.1]/",
        "",
    ],
)
def test_addresses_that_are_refused_by_their_look(url):
    with pytest.raises(ForbiddenAddress):
        check_url(url)


@pytest.mark.parametrize(
    ("host", "addresses"),
    [
        ("rebinding.example.com", ["127.0.0.1"]),
        ("rebinding.example.com", ["8.8.8.8", "127.0.0.1"]),
        ("metadata.example.com", ["169.254.169.254"]),
        ("inside.example.com", ["10.1.2.3"]),
        ("inside.example.com", ["192.168.0.1"]),
        ("inside.example.com", ["fd00::1"]),
        ("mapped.example.com", ["::ffff:10.0.0.1"]),
        ("mapped.example.com", ["::ffff:127.0.0.1"]),
        ("nat.example.com", ["64:ff9b::7f00:1"]),
        ("six.example.com", ["2002:7f00:1::"]),
        ("nothing.example.com", ["::"]),
        ("shared.example.com", ["100.64.0.1"]),
        ("link.example.com", ["fe80::1%eth0"]),
        ("many.example.com", ["224.0.0.1"]),
        ("none.example.com", []),
    ],
)
def test_a_name_that_leads_inside_is_refused(host, addresses):
    with pytest.raises(ForbiddenAddress):
        check_addresses(host, addresses, allow_loopback=True)


def test_what_is_allowed(settings):
    assert check_addresses("x.example.com", ["2606:4700::1", "8.8.8.8"], allow_loopback=False) == [
        "8.8.8.8",
        "2606:4700::1",
    ]
    assert check_addresses("127.1", ["127.0.0.1"], allow_loopback=True) == ["127.0.0.1"]
    settings.PRIVATE_NETWORK_ACCESS = True
    assert check_addresses("inside.example.com", ["10.0.0.1"], allow_loopback=True) == ["10.0.0.1"]
    with pytest.raises(ForbiddenAddress):
        check_addresses("metadata.example.com", ["169.254.169.254"], allow_loopback=True)
    assert not is_loopback_name("localhost.example.com")


def test_a_name_that_leads_here_is_not_connected_to(allocations_server, monkeypatch):
    """The resolver is the world outside; the check stands between it and the connection."""
    port = allocations_server.server.server_address[1]
    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *rest, **more: answer if b"evil" in _bytes(host) else real(host, *rest, **more),
    )

    async def ask(url):
        async with guarded_client(5) as client:
            return await client.get(url)

    before = len(allocations_server.requests)
    with pytest.raises(ForbiddenAddress, match=r"resolves to 127\.0\.0\.1"):
        asyncio.run(ask(f"https://evil.example.com:{port}/x"))
    with pytest.raises(RunFailed, match=r"resolves to 127\.0\.0\.1") as failure:
        asyncio.run(AllocationsClient(f"https://evil.example.com:{port}", "key", 5).fetch("x"))
    assert failure.value.code == "allocations_not_configured"
    assert len(allocations_server.requests) == before
    assert asyncio.run(ask(f"http://127.1:{port}/x/allocations")).status_code == 404
    assert len(allocations_server.requests) == before + 1


def _bytes(host):
    return host if isinstance(host, bytes) else str(host).encode()


def test_no_redirect_is_followed(allocations_server):
    allocations_server.answer("there", 302, "", {"Location": "http://127.0.0.1:9/"})

    async def ask():
        async with guarded_client(5) as client:
            return await client.get(f"{allocations_server.url}/there/allocations")

    assert asyncio.run(ask()).status_code == httpx.codes.FOUND
