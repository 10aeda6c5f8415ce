"""Fixtures that make test databases and installations, each with a copy of one migrated database."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.databases import InitialRows, Template
from tests.support.installation import Installation


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """The migrated database of this test run, which all its processes share."""
    own = tmp_path_factory.getbasetemp()
    return Template(own.parent if "PYTEST_XDIST_WORKER" in os.environ else own)


@pytest.fixture(scope="session")
def django_db_setup(
    migrated: Template,
    tmp_path_factory: pytest.TempPathFactory,
    django_test_environment: None,
    django_db_blocker: Any,
) -> Iterator[None]:
    """The database of the tests of this process: pytest-django's fixture of this name would migrate for each process."""
    from dj_database_url import parse
    from django.db import connection
    from django.test import TransactionTestCase

    name = parse(migrated.copy(tmp_path_factory.mktemp("database"), "test"))["NAME"]
    with pytest.MonkeyPatch.context() as patch:
        with django_db_blocker.unblock():
            connection.close()
            patch.setitem(connection.settings_dict, "NAME", name)
            initial = InitialRows(connection, migrated)
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda _: initial.restore())
        yield
        with django_db_blocker.unblock():
            connection.close()


@pytest.fixture(scope="module")
def new_installation(
    tmp_path_factory: pytest.TempPathFactory, migrated: Template
) -> Iterator[Callable[..., Installation]]:
    """Return a function that makes installations. Their processes end with the module."""
    made = []

    def make(**environment: str) -> Installation:
        directory: Path = tmp_path_factory.mktemp("installation")
        made.append(Installation(directory, migrated.copy(directory, "site"), **environment))
        return made[-1]

    yield make
    for installation in made:
        installation.close()
