from django.db import models
from django.db.models import Q


class Installation(models.Model):
    """The identity of this installation, a table of one row."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    installation_id = models.CharField(max_length=8, help_text="Random; a part of each client order id.")
    database_marker = models.CharField(
        max_length=64, blank=True, help_text="Identifies the stored table itself. It differs in a restored database."
    )
    restored_at = models.DateTimeField(
        null=True, blank=True, help_text="Time of a restore after which not every account has been reconciled."
    )

    class Meta:
        constraints = (models.CheckConstraint(condition=Q(id=1), name="one_installation"),)

    def __str__(self) -> str:
        return self.installation_id


class UnrecordedOrder(models.Model):
    """An order at the broker whose client order id has the form of ours, without a row in this database.

    Another installation has sent it, or this one did after the backup from which the database was restored.
    """

    account = models.ForeignKey("accounts.Account", on_delete=models.PROTECT, related_name="unrecorded_orders")
    client_order_id = models.CharField(max_length=64)
    symbol = models.CharField(max_length=32)
    quantity = models.DecimalField(max_digits=20, decimal_places=8, help_text="Shares; negative for a sell.")
    found_at = models.DateTimeField(auto_now_add=True)
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolution = models.TextField(blank=True)

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(fields=("account", "client_order_id"), name="unrecorded_order_once_per_account"),
        )
        indexes = (
            models.Index(fields=("account",), name="unrecorded_orders_open", condition=Q(resolved_at__isnull=True)),
        )

    def __str__(self) -> str:
        return self.client_order_id
