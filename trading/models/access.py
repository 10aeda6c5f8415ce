from django.db import models
from django.utils import timezone


class ApiScope(models.TextChoices):
    """What a token may be used for; what its owner may not do, it cannot either."""

    READ = "read", "Read accounts, strategies, runs and events"
    PREVIEW = "preview", "Ask for previews"
    EXECUTE = "execute", "Send orders"
    EVENTS = "events", "Send events in"


class ApiToken(models.Model):
    """A key to the API. Only its digest is kept: it is shown once, when it is made."""

    name = models.CharField(max_length=80, help_text="What it is for.")
    owner = models.ForeignKey("auth.User", on_delete=models.CASCADE, related_name="api_tokens")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    beginning = models.CharField(max_length=12, editable=False, help_text="How the token begins, to tell it by.")
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    window_started_at = models.DateTimeField(null=True, blank=True, editable=False)
    window_requests = models.PositiveIntegerField(default=0, editable=False)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.name} ({self.beginning}…)"

    @property
    def is_valid(self) -> bool:
        """Whether it still opens anything."""
        return self.revoked_at is None and self.expires_at > timezone.now()


class AuditEntry(models.Model):
    """Who did what, when and from where. Written by the program, changed by nobody."""

    at = models.DateTimeField(auto_now_add=True, db_index=True)
    person = models.CharField(max_length=150, blank=True, help_text="Empty: a command or the program itself.")
    address = models.CharField(max_length=45, blank=True)
    action = models.CharField(max_length=40)
    subject = models.CharField(max_length=200)
    detail = models.TextField(blank=True)

    class Meta:
        ordering = ("-id",)
        verbose_name_plural = "audit trail"

    def __str__(self) -> str:
        return f"{self.person or 'system'}: {self.action} {self.subject}"
