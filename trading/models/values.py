from django.db import models


class AccountValue(models.Model):
    """The value of an account when a run looked at it."""

    account = models.ForeignKey("accounts.Account", on_delete=models.CASCADE, related_name="values")
    at = models.DateTimeField(auto_now_add=True)
    total_value_usd = models.DecimalField(max_digits=20, decimal_places=4)
    cash_usd = models.DecimalField(max_digits=20, decimal_places=4)

    class Meta:
        ordering = ("at",)
        indexes = (models.Index(fields=("account", "at"), name="value_by_account"),)

    def __str__(self) -> str:
        return f"{self.account} {self.total_value_usd}"
