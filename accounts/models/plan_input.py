"""Base of the models that plans are made from: every change of their rows is announced in its own transaction."""

from collections.abc import Iterable
from typing import Any, ClassVar, Self, TypeVar

from django.db import models, transaction
from django.dispatch import Signal

rows_changed = Signal()
"""Sent with the keys of rows (`pks`) that were changed without `save()`, inside the transaction of the change, and with
the names of their changed fields (None: all).

Saved and deleted rows send Django's `post_save` and `post_delete`, also in the transaction of the change.
"""

Row = TypeVar("Row", bound=models.Model)


class PlanInputQuerySet(models.QuerySet[Row]):
    """Announces the changes that bypass `save()`."""

    def update(self, **changes: Any) -> int:
        """Update the rows, and announce their keys."""
        with transaction.atomic(using=self.db):
            pks = list(self.values_list("pk", flat=True))
            updated = super().update(**changes)
            rows_changed.send(self.model, pks=pks, fields=frozenset(changes))
        return updated

    def bulk_create(self, objs: Iterable[Row], *args: Any, **kwargs: Any) -> list[Row]:
        """Create the rows, and announce their keys."""
        with transaction.atomic(using=self.db):
            created = super().bulk_create(objs, *args, **kwargs)
            rows_changed.send(self.model, pks=[row.pk for row in created if row.pk], fields=None)
        return created


class PlanInputManager(models.Manager[Row]):
    """Makes querysets that announce changes."""

    def get_queryset(self) -> PlanInputQuerySet[Row]:
        """Return all rows."""
        return PlanInputQuerySet(self.model, using=self._db)


class PlanInput(models.Model):
    """A row that plans are made from. Its signals are sent inside the transaction of the change."""

    objects: ClassVar[models.Manager[Self]] = PlanInputManager()

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the row and announce it in one transaction."""
        with transaction.atomic(using=kwargs.get("using")):
            super().save(*args, **kwargs)
