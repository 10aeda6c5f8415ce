"""Migrations: during an upgrade, processes of the version before may still write to the migrated tables."""

from operator import itemgetter

import pytest
from django.db.migrations import AddField, CreateModel, DeleteModel, RemoveField, RenameField, RenameModel
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation

FIRST_CHECKED = {"accounts": "0007", "simulated": "0005", "trading": "0014"}
"""First migration of each app that must be additive; databases have passed the earlier ones."""
BREAKING = (DeleteModel, RemoveField, RenameField, RenameModel)


def operations() -> list[tuple[str, str, Operation]]:
    """Return the operations on existing tables in the checked migrations, each with its app and migration."""
    found: list[tuple[str, str, Operation]] = []
    for (app, name), migration in sorted(MigrationLoader(None).disk_migrations.items(), key=itemgetter(0)):
        if name[:4] < FIRST_CHECKED.get(app, "9999"):
            continue
        created = {one.name_lower for one in migration.operations if isinstance(one, CreateModel)}
        existing = (one for one in migration.operations if getattr(one, "model_name_lower", "") not in created)
        found += [(app, name, operation) for operation in existing]
    return found


@pytest.mark.parametrize(("app", "name", "operation"), operations())
def test_migration_is_additive(app: str, name: str, operation: Operation) -> None:
    """An older process inserts rows without the new columns, and reads the columns that it knows."""
    assert not isinstance(operation, BREAKING), f"{app} {name}: {operation.describe()} breaks older processes"
    if isinstance(operation, AddField):
        field = operation.field
        has_value = field.null or field.many_to_many or field.has_db_default()
        assert has_value, f"{app} {name}: {operation.model_name}.{operation.name} needs null=True or db_default"
