from django.db import models

from accounts.models.plan_input import PlanInput


class PublishedTargets(PlanInput):
    """The latest targets that were fetched for a strategy, and the latest failed attempt."""

    strategy = models.OneToOneField("accounts.Strategy", on_delete=models.CASCADE, related_name="published")
    fetched_at = models.DateTimeField(null=True, blank=True)
    targets = models.JSONField(default=list, help_text="As published, before replacements.")
    failed_at = models.DateTimeField(null=True, blank=True)
    error_code = models.CharField(max_length=48, blank=True)
    error_message = models.TextField(blank=True)

    class Meta:
        verbose_name = verbose_name_plural = "published targets"

    def __str__(self) -> str:
        return f"{self.strategy}"

    @property
    def is_failing(self) -> bool:
        """Whether the latest attempt failed."""
        return bool(self.failed_at and (self.fetched_at is None or self.failed_at > self.fetched_at))
