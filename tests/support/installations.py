"""Fixtures that make installations. Each gets a copy of one migrated database, on SQLite or PostgreSQL."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.installation import Installation


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], str]:
    """Return a function that copies a migrated database and returns its URL: migrations take seconds."""
    directory = tmp_path_factory.mktemp("template")
    if os.environ.get("TEST_DATABASE") == "postgres":
        from tests.support.postgres import new_database

        url = new_database("template")
        Installation(directory, url).manage("migrate", "-v0")
        return lambda _: new_database("e2e", template=url)

    path = directory / "template.sqlite3"
    Installation(directory, f"sqlite:///{path}").manage("migrate", "-v0")

    def copy(target: Any) -> str:
        shutil.copy(path, target / "site.sqlite3")
        return f"sqlite:///{target / 'site.sqlite3'}"

    return copy


@pytest.fixture(scope="module")
def new_installation(
    tmp_path_factory: pytest.TempPathFactory, migrated: Callable[[Path], str]
) -> Iterator[Callable[..., Installation]]:
    """Return a function that makes installations. Their processes end with the module."""
    made = []

    def make(**environment: str) -> Installation:
        directory = tmp_path_factory.mktemp("installation")
        made.append(Installation(directory, migrated(directory), **environment))
        return made[-1]

    yield make
    for installation in made:
        installation.close()
