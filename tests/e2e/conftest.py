"""A database for each installation: a file of SQLite, or a database of a PostgreSQL server."""

import os
import shutil

import pytest

from tests.support.installation import Installation


@pytest.fixture(scope="session")
def _template(tmp_path_factory):
    """A migrated SQLite file, copied for each installation: migrating takes seconds."""
    directory = tmp_path_factory.mktemp("template")
    path = directory / "template.sqlite3"
    Installation(directory, f"sqlite:///{path}").manage("migrate", "-v0")
    return path


@pytest.fixture(scope="module")
def new_installation(tmp_path_factory, request):
    """Makes installations; ends their processes when the module is done."""
    made = []

    def make(**environment):
        directory = tmp_path_factory.mktemp("installation")
        if os.environ.get("TEST_DATABASE") == "postgres":
            from tests.support.postgres import new_database

            installation = Installation(directory, new_database("e2e"), **environment)
            installation.manage("migrate", "-v0")
        else:
            shutil.copy(request.getfixturevalue("_template"), directory / "site.sqlite3")
            installation = Installation(directory, f"sqlite:///{directory / 'site.sqlite3'}", **environment)
        made.append(installation)
        return installation

    yield make
    for installation in made:
        installation.close()
