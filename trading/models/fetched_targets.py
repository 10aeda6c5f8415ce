from django.db import models


class PublishedTargets(models.Model):
    """The latest answer about a strategy's targets, and the latest failure to get one."""

    strategy = models.OneToOneField("accounts.Strategy", on_delete=models.CASCADE, related_name="published")
    fetched_at = models.DateTimeField(null=True, blank=True)
    targets = models.JSONField(default=list, help_text="As published, before replacements.")
    failed_at = models.DateTimeField(null=True, blank=True)
    error_code = models.CharField(max_length=48, blank=True)
    error_message = models.TextField(blank=True)

    class Meta:
        verbose_name_plural = "published targets"

    def __str__(self) -> str:
        return f"{self.strategy}"

    @property
    def is_failing(self) -> bool:
        """Whether the latest attempt failed."""
        return bool(self.failed_at and (self.fetched_at is None or self.failed_at > self.fetched_at))
