from django.db import models

from trading.models.orders import trade_text


class ExecutedSession(models.Model):
    """That an account was traded in a session: written with the first order sent in it, read by the trade guard."""

    account = models.ForeignKey("accounts.Account", on_delete=models.PROTECT, related_name="executed_sessions")
    session_date = models.DateField(help_text="The exchange session in which the orders execute.")
    run = models.ForeignKey("trading.RebalanceRun", on_delete=models.PROTECT, related_name="executed_sessions")
    first_order_at = models.DateTimeField()

    class Meta:
        ordering = ("-session_date", "-id")
        constraints = (models.UniqueConstraint(fields=("run", "session_date"), name="executed_once_a_session"),)
        indexes = (models.Index(fields=("account", "-session_date"), name="executed_by_account"),)

    def __str__(self) -> str:
        return f"{self.account} on {self.session_date}"


class SeenExecution(models.Model):
    """A fill that the broker has told of, manual ones included: what day trades and settled cash are counted from."""

    account = models.ForeignKey("accounts.Account", on_delete=models.PROTECT, related_name="seen_executions")
    execution_id = models.CharField(max_length=80)
    symbol = models.CharField(max_length=32)
    quantity = models.DecimalField(max_digits=20, decimal_places=8, help_text="Signed: a sell is negative.")
    price_usd = models.DecimalField(max_digits=20, decimal_places=8)
    executed_at = models.DateTimeField()
    session_date = models.DateField(help_text="The exchange session that it belongs to.")
    client_order_id = models.CharField(max_length=64, blank=True, help_text="Empty or not ours: a manual trade.")
    seen_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-executed_at", "-id")
        constraints = (models.UniqueConstraint(fields=("account", "execution_id"), name="execution_seen_once"),)
        indexes = (models.Index(fields=("account", "-session_date"), name="seen_by_account"),)

    def __str__(self) -> str:
        return trade_text(self.quantity, self.symbol)
