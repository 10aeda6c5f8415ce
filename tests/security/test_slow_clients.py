"""Clients that send request bodies slowly occupy neither the site's threads nor the proxy."""

import select
import socket
import time
from io import BytesIO

import pytest

from rebalancer_site.request_body import BodyReader
from tests.support.web_server import DEADLINE_SECONDS, get_status, proxy, site, slow_bodies

SLOW_CLIENTS = 100
DASHBOARD = "/"  # redirects to the login


@pytest.fixture(scope="module")
def installation(new_installation):
    return new_installation(ALLOWED_HOSTS="localhost")


@pytest.fixture(scope="module")
def site_port(installation):
    with site(installation) as port:
        yield port


@pytest.mark.one_database
def test_site_with_slow_bodies_answers_a_page(site_port):
    with slow_bodies(site_port, SLOW_CLIENTS) as connections:
        assert get_status(site_port, DASHBOARD) == 302
        # Each of the two processes reads four bodies at a time; the others are refused.
        answers = [connection.recv(4096).split(b"\r\n")[0] for connection in _readable(connections, SLOW_CLIENTS - 8)]
        assert {answer.split(b" ")[1] for answer in answers} <= {b"503", b"408"}


@pytest.mark.one_database
def test_proxy_with_slow_bodies_answers_a_page_and_passes_none_of_them_on(installation, site_port, tmp_path):
    with proxy(tmp_path, site_port) as port, slow_bodies(port, SLOW_CLIENTS, path="/of-the-proxy/", tls=True):
        assert get_status(port, DASHBOARD, tls=True) == 302
        assert get_status(port, "/metrics", tls=True) == 404
    assert "POST /of-the-proxy/" not in (installation.directory / "web.log").read_text()


@pytest.mark.one_database
def test_site_with_a_chunked_body_refuses_it(site_port):
    with socket.create_connection(("127.0.0.1", site_port), timeout=DEADLINE_SECONDS) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 411 ")


def _readable(connections, number):
    """Wait until this number of connections has something to read, and return those."""
    until = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < until:
        found = select.select(connections, [], [], 1)[0]
        if len(found) >= number:
            return found
    raise AssertionError(f"{len(found)} connections were answered, not {number}.")


# ---- the reader alone


class StalledBody(BytesIO):
    """A body whose reading ends early, as it does when the connection is shut down at the deadline."""

    def read(self, size=-1):
        return b"abc"


def ask(reader, body, **environ):
    answered = []
    content = reader({"wsgi.input": body, **environ}, lambda status, _: answered.append(status))
    return answered[0], b"".join(content)


def echo(environ, start_response):
    start_response("200 OK", [])
    return [environ["wsgi.input"].read()]


@pytest.mark.parametrize(
    ("body", "environ", "status"),
    [
        (BytesIO(b"abc"), {"CONTENT_LENGTH": "3"}, "200"),
        (BytesIO(b""), {}, "200"),
        (BytesIO(b""), {"CONTENT_LENGTH": ""}, "200"),
        (BytesIO(b"abc"), {"CONTENT_LENGTH": "-3"}, "400"),
        (BytesIO(b"abc"), {"CONTENT_LENGTH": "\u0663"}, "400"),
        (BytesIO(b"abc"), {"HTTP_TRANSFER_ENCODING": "chunked"}, "411"),
        (BytesIO(b"abc"), {"CONTENT_LENGTH": "11"}, "413"),
        (BytesIO(b"abc"), {"CONTENT_LENGTH": "9" * 5000}, "413"),
        (StalledBody(), {"CONTENT_LENGTH": "4"}, "408"),
    ],
)
def test_body_reader_by_request_answers(body, environ, status):
    answered, _ = ask(BodyReader(echo, max_bytes=10), body, **environ)
    assert answered.split()[0] == status


def test_body_reader_with_all_places_taken_refuses_bodies_and_passes_other_requests():
    reader = BodyReader(echo, max_readers=1)
    inner = {}

    class Body(BytesIO):
        def read(self, size=-1):
            if not inner:
                inner["body"] = ask(reader, BytesIO(b"abc"), CONTENT_LENGTH="3")[0]
                inner["none"] = ask(reader, BytesIO())[0]
            return super().read(size)

    assert ask(reader, Body(b"abc"), CONTENT_LENGTH="3") == ("200 OK", b"abc")
    assert inner == {"body": "503 Service Unavailable", "none": "200 OK"}
    assert ask(reader, BytesIO(b"abc"), CONTENT_LENGTH="3")[0] == "200 OK"
