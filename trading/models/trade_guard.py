from django.db import models

from trading.models.orders import trade_text


class ExecutedSession(models.Model):
    """A session in which an account was traded: written with its first order, read by the trade guard."""

    account = models.ForeignKey("accounts.Account", on_delete=models.PROTECT, related_name="executed_sessions")
    session_date = models.DateField(help_text="Exchange session in which the orders execute.")
    run = models.ForeignKey("trading.RebalanceRun", on_delete=models.PROTECT, related_name="executed_sessions")
    first_order_at = models.DateTimeField()

    class Meta:
        ordering = ("-session_date", "-id")
        constraints = (models.UniqueConstraint(fields=("run", "session_date"), name="executed_once_a_session"),)
        indexes = (models.Index(fields=("account", "-session_date"), name="executed_by_account"),)

    def __str__(self) -> str:
        return f"{self.account} on {self.session_date}"


class SeenExecution(models.Model):
    """An execution that the broker reported, also of a manual trade; the source of day trades and settled cash."""

    account = models.ForeignKey("accounts.Account", on_delete=models.PROTECT, related_name="seen_executions")
    execution_id = models.CharField(max_length=80)
    symbol = models.CharField(max_length=32)
    quantity = models.DecimalField(max_digits=20, decimal_places=8, help_text="Shares; negative for a sell.")
    price_usd = models.DecimalField(max_digits=20, decimal_places=8)
    executed_at = models.DateTimeField()
    session_date = models.DateField(help_text="Exchange session of the execution.")
    client_order_id = models.CharField(max_length=64, blank=True, help_text="Empty or unknown for a manual trade.")
    seen_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-executed_at", "-id")
        verbose_name = "recorded execution"
        constraints = (models.UniqueConstraint(fields=("account", "execution_id"), name="execution_seen_once"),)
        indexes = (models.Index(fields=("account", "-session_date"), name="seen_by_account"),)

    def __str__(self) -> str:
        return trade_text(self.quantity, self.symbol)
