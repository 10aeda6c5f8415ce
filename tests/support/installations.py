"""A database for each installation: a file of SQLite, or a database of a PostgreSQL server; migrated once, copied."""

import os
import shutil

import pytest

from tests.support.installation import Installation


@pytest.fixture(scope="session")
def migrated(tmp_path_factory):
    """Makes the database URL of a copy of a migrated database: migrating takes seconds."""
    directory = tmp_path_factory.mktemp("template")
    if os.environ.get("TEST_DATABASE") == "postgres":
        from tests.support.postgres import new_database

        url = new_database("template")
        Installation(directory, url).manage("migrate", "-v0")
        return lambda _: new_database("e2e", template=url)

    path = directory / "template.sqlite3"
    Installation(directory, f"sqlite:///{path}").manage("migrate", "-v0")

    def copy(target):
        shutil.copy(path, target / "site.sqlite3")
        return f"sqlite:///{target / 'site.sqlite3'}"

    return copy


@pytest.fixture(scope="module")
def new_installation(tmp_path_factory, migrated):
    """Makes installations; ends their processes when the module is done."""
    made = []

    def make(**environment):
        directory = tmp_path_factory.mktemp("installation")
        made.append(Installation(directory, migrated(directory), **environment))
        return made[-1]

    yield make
    for installation in made:
        installation.close()
