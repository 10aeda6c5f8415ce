from django.db import models

from accounts.validators import SYMBOL


class CachedContract(models.Model):
    """The contract of a symbol at a broker, shared by all processes for a day."""

    broker = models.CharField(max_length=40)
    symbol = models.CharField(max_length=15)
    facts = models.JSONField()
    as_of = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("broker", "symbol"), name="cached_contract_once_per_symbol"),)

    def __str__(self) -> str:
        return self.symbol


class ContractChoice(models.Model):
    """The contract that orders for a symbol trade, where a broker has several and a user has chosen one."""

    broker = models.CharField(max_length=40)
    symbol = models.CharField(max_length=15, validators=[SYMBOL])
    contract_id = models.CharField(
        max_length=40, verbose_name="contract id", help_text="The broker's id of the contract, as in the refused run."
    )

    class Meta:
        ordering = ("broker", "symbol")
        constraints = (models.UniqueConstraint(fields=("broker", "symbol"), name="contract_choice_once_per_symbol"),)

    def __str__(self) -> str:
        return f"{self.symbol} ({self.broker}): contract {self.contract_id}"


def contract_choices(broker: str) -> dict[str, str]:
    """Return the chosen contract ids of a broker by symbol."""
    return dict(ContractChoice.objects.filter(broker=broker).values_list("symbol", "contract_id"))
