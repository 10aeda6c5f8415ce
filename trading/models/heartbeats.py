from django.db import models


class ProcessHeartbeat(models.Model):
    """Latest heartbeat of a long-running process; its age shows whether the process is healthy."""

    name = models.CharField(max_length=80, unique=True)
    kind = models.CharField(max_length=20)
    at = models.DateTimeField()
    details = models.JSONField(default=dict)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name
