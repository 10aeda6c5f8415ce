"""The site as it is deployed: gunicorn with the command of docker-compose.yaml, and Caddy with the shipped Caddyfile."""

import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path

import yaml

from tests.support.installation import ROOT, Installation

PROGRAMS = Path(sys.executable).parent
DEADLINE_SECONDS = 30


def free_port() -> int:
    """Return a port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _any_certificate() -> ssl.SSLContext:
    """Return a context that accepts the certificate of a test's own authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def get_status(port: int, path: str, *, tls: bool = False) -> int:
    """Return the status of a GET request to `localhost`."""
    connection = (
        HTTPSConnection("localhost", port, timeout=DEADLINE_SECONDS, context=_any_certificate())
        if tls
        else HTTPConnection("127.0.0.1", port, timeout=DEADLINE_SECONDS)
    )
    try:
        connection.request("GET", path, headers={"Host": "localhost"})
        return connection.getresponse().status
    finally:
        connection.close()


@contextmanager
def site(installation: Installation) -> Iterator[int]:
    """Run the site as the service `web` does, and return its port."""
    command = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["services"]["web"]["command"]
    port = free_port()
    words = [word.replace("0.0.0.0:8000", f"127.0.0.1:{port}") for word in command]
    with _running([str(PROGRAMS / words[0]), *words[1:]], installation.environment, installation.directory / "web.log"):
        _wait_for(port)
        yield port


@contextmanager
def proxy(directory: Path, site_port: int) -> Iterator[int]:
    """Run Caddy with deploy/Caddyfile before a site, and return the port of its TLS."""
    port = free_port()
    environment = {"SITE_NAME": "localhost", "XDG_DATA_HOME": str(directory), "HOME": str(directory)}
    adapt = [str(PROGRAMS / "caddy"), "adapt", "--config", str(ROOT / "deploy/Caddyfile")]
    adapted = subprocess.run(adapt, env=environment, capture_output=True, check=True, timeout=DEADLINE_SECONDS).stdout
    text = adapted.decode().replace("web:8000", f"127.0.0.1:{site_port}")
    for fixed in ("127.0.0.1:8081", ":8443"):
        assert fixed in text
    text = text.replace("127.0.0.1:8081", f"127.0.0.1:{free_port()}").replace('":8443"', f'"127.0.0.1:{port}"')
    content = json.loads(text)
    content["apps"]["http"] |= {"http_port": free_port(), "https_port": port}
    # The certificate authority of a test is not installed on the machine.
    content["apps"]["pki"] = {"certificate_authorities": {"local": {"install_trust": False}}}
    configuration = directory / "caddy.json"
    configuration.write_text(json.dumps(content))
    run = [str(PROGRAMS / "caddy"), "run", "--config", str(configuration)]
    with _running(run, environment, directory / "proxy.log"):
        _wait_for(port, tls=True)
        yield port


@contextmanager
def slow_bodies(port: int, number: int, *, path: str = "/", tls: bool = False) -> Iterator[list[socket.socket]]:
    """Open connections that each send the head of a POST and the first byte of its body, and keep them open."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        "Content-Length: 50000\r\n\r\nx"
    )
    with ExitStack() as stack:
        connections = []
        for _ in range(number):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_SECONDS))
            if tls:
                tunnel = _any_certificate().wrap_socket(connection, server_hostname="localhost")
                connection = stack.enter_context(tunnel)
            connection.sendall(head.encode())
            connections.append(connection)
        yield connections


@contextmanager
def _running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment | {"PATH": os.environ["PATH"]}, stdout=output, stderr=output
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(DEADLINE_SECONDS)


def _wait_for(port: int, *, tls: bool = False) -> None:
    until = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < until:
        try:
            if get_status(port, "/", tls=tls) < 500:
                return
        except (OSError, HTTPException):
            pass
        time.sleep(0.1)
    raise AssertionError("The server did not start.")
