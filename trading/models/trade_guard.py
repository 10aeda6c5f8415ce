from django.db import models


class ExecutedSession(models.Model):
    """That an account was traded in a session: written with the first order sent, read by the trade guard."""

    account = models.ForeignKey("accounts.Account", on_delete=models.PROTECT, related_name="executed_sessions")
    session_date = models.DateField(help_text="The exchange session in which the orders execute.")
    run = models.OneToOneField("trading.RebalanceRun", on_delete=models.PROTECT, related_name="executed_session")
    first_order_at = models.DateTimeField()

    class Meta:
        ordering = ("-session_date", "-id")
        indexes = (models.Index(fields=("account", "-session_date"), name="executed_by_account"),)

    def __str__(self) -> str:
        return f"{self.account} on {self.session_date}"
