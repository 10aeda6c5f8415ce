"""Test databases: copies of one migrated database, which a test run makes once, because migrations take seconds.

Every test begins with the rows that the migrations make, and nothing else.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.installation import Installation

ON_POSTGRES = os.environ.get("TEST_DATABASE") == "postgres"


class Template:
    """The migrated database of a test run, in a folder that all its processes share."""

    def __init__(self, shared: Path) -> None:
        with (shared / "template.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            known = shared / "template.url"
            if not known.exists():
                known.write_text(_migrated_database(shared))
            self.url = known.read_text()

    def copy(self, directory: Path, name: str) -> str:
        """Return the URL of a copy. On SQLite it is a file of this name in the directory."""
        if ON_POSTGRES:
            from tests.support.postgres import new_database

            return new_database(name, template=self.url)
        path = directory / f"{name}.sqlite3"
        shutil.copy(self.url.removeprefix("sqlite:///"), path)
        return f"sqlite:///{path}"


def _migrated_database(directory: Path) -> str:
    if ON_POSTGRES:
        from tests.support.postgres import new_database

        url = new_database("template")
    else:
        url = f"sqlite:///{directory / 'template.sqlite3'}"
    # All tests need this database: a busy machine gets more time than for one test.
    Installation(directory, url).manage("migrate", "-v0", seconds=600)
    return url


class InitialRows:
    """The rows of a migrated database, to which a test that commits sets the database back.

    Django truncates all tables instead, and creates permissions, roles and schedules again with the signal
    `post_migrate`. That takes ten times as long, and loses the rows that migrations make.
    """

    def __init__(self, connection: Any, template: Template) -> None:
        self.connection = connection
        self.file = template.url.removeprefix("sqlite:///")
        names = connection.introspection.django_table_names(only_existing=True, include_views=False)
        tables = {table: self._columns(table) for table in sorted(names)}
        rows = {table: self._read(table, columns) for table, columns in tables.items()}
        self.filled = {table: (columns, rows[table]) for table, columns in tables.items() if rows[table]}
        self.empty = [table for table in tables if table not in self.filled]
        if ON_POSTGRES:
            self._execute("CREATE SCHEMA initial")
            for table in self.filled:
                self._execute(f"CREATE TABLE initial.{table} AS TABLE {table}")

    def restore(self) -> None:
        """Delete what tests have written, and write the initial rows again where they differ."""
        from django.db import transaction

        with (
            self._initial_tables(),
            transaction.atomic(using=self.connection.alias),
        ):  # it checks foreign keys at its end
            deletions = [f"DELETE FROM {table}" for table in self.empty]  # noqa: S608 - names of ours, here and below
            for statement in ["; ".join(deletions)] if ON_POSTGRES else deletions:
                self._execute(statement)
            for table, (columns, rows) in self.filled.items():
                if self._read(table, columns) != rows:
                    self._execute(f"DELETE FROM {table}")  # noqa: S608
                    self._execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM initial.{table}")  # noqa: S608

    @contextmanager
    def _initial_tables(self) -> Iterator[None]:
        """Make the template's tables readable as `initial.*`; on PostgreSQL copies of them are."""
        if ON_POSTGRES:
            yield
            return
        self._execute(f"ATTACH '{self.file}' AS initial")
        try:
            yield
        finally:
            self._execute("DETACH initial")

    def _columns(self, table: str) -> str:
        """Return the columns by name, because a table that a migration creates again may have them in another order."""
        with self.connection.cursor() as cursor:
            found = self.connection.introspection.get_table_description(cursor, table)
        return ", ".join(self.connection.ops.quote_name(column.name) for column in found)

    def _execute(self, statement: str) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(statement)

    def _read(self, table: str, columns: str) -> list[Any]:
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT {columns} FROM {table} ORDER BY 1")  # noqa: S608
            return list(cursor.fetchall())
