from django.db import models


class CachedPrice(models.Model):
    """The latest quote of a symbol, shared by all processes for some seconds."""

    broker = models.CharField(max_length=40)
    environment = models.CharField(max_length=5)
    symbol = models.CharField(max_length=15)
    price = models.JSONField()
    as_of = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("broker", "environment", "symbol"), name="cached_price_once_per_symbol"),
        )

    def __str__(self) -> str:
        return self.symbol
