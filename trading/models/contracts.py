from django.db import models


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
