"""The database roles of the containers: one owns the tables, and the one of the site can only read and write rows."""

import os
import subprocess
from contextlib import closing
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.support.installation import ROOT, Installation

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(os.environ.get("TEST_DATABASE") != "postgres", reason="SQLite has no roles"),
]

REFUSED = (
    "CREATE TABLE public.other (id int)",
    "CREATE SCHEMA other",
    "DROP TABLE trading_auditentry",
    "TRUNCATE trading_auditentry",
    "ALTER TABLE trading_auditentry ADD COLUMN other int",
    "CREATE ROLE other",
    "ALTER ROLE rebalancer SUPERUSER",
    "COPY (SELECT 1) TO PROGRAM 'true'",
)
USE = """
from django.contrib.auth.models import User
user = User.objects.create_user("operator")
user.first_name = "O"
user.save()
User.objects.get(username="operator").delete()
answer = User.objects.count()
"""


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    """An installation that was migrated by the owner, and runs as the site's role."""
    from tests.support.postgres import new_database, programs

    directory, url = tmp_path_factory.mktemp("roles"), new_database("roles")
    for name in ("owner", "site"):
        (directory / f"db_{name}_password").write_text(f"password-of-{name}")
    socket_directory = url.partition("?host=")[2]
    environment = {
        "PATH": f"{programs()}:{os.environ['PATH']}",
        "PGHOST": socket_directory,
        "POSTGRES_DB": urlsplit(url).path.strip("/"),
        "SECRETS": str(directory),
    }
    subprocess.run([ROOT / "deploy/roles.sh"], env=environment, check=True, capture_output=True, text=True)

    def url_of(role):
        return url.replace("postgres:@", f"{role}:@", 1)

    Installation(directory, url_of("rebalancer_owner")).manage("migrate", "-v0")
    with closing(Installation(directory, url_of("rebalancer"))) as made:
        yield made


def test_site_role_reads_and_writes_rows_and_nothing_else(installation):
    # One test: roles belong to the server, which all processes of the tests share.
    assert installation.evaluate(USE) == 0
    for statement in REFUSED:
        url = installation.environment["DATABASE_URL"]
        with psycopg.connect(url) as site, pytest.raises(psycopg.errors.InsufficientPrivilege):
            site.execute(statement)
