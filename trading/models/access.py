from django.db import models
from django.utils import timezone


class ApiScope(models.TextChoices):
    """Permission of a token; it never exceeds the permissions of the token's owner."""

    READ = "read", "Read accounts, strategies, runs and events"
    PREVIEW = "preview", "Request previews"
    EXECUTE = "execute", "Submit orders"
    EVENTS = "events", "Send events"
    APPROVE = "approve", "Approve held plans of other users"


class ApiToken(models.Model):
    """An API token. Only its digest is stored; the token itself is shown once, when it is created."""

    name = models.CharField(max_length=80, help_text="Purpose of the token.")
    owner = models.ForeignKey("auth.User", on_delete=models.CASCADE, related_name="api_tokens")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    beginning = models.CharField(
        max_length=12, editable=False, help_text="First characters of the token, to identify it."
    )
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    window_started_at = models.DateTimeField(null=True, blank=True, editable=False)
    window_requests = models.PositiveIntegerField(default=0, editable=False)

    class Meta:
        ordering = ("-id",)
        verbose_name = "API token"

    def __str__(self) -> str:
        return f"{self.name} ({self.beginning}…)"

    @property
    def is_valid(self) -> bool:
        """Whether the token is neither revoked nor expired."""
        return self.revoked_at is None and self.expires_at > timezone.now()


class AuditEntry(models.Model):
    """An entry of the audit trail: who did what, when and from which address. Entries are never changed."""

    at = models.DateTimeField(auto_now_add=True, db_index=True)
    person = models.CharField(max_length=150, blank=True, help_text="User name; empty for a command or the system.")
    address = models.CharField(max_length=45, blank=True)
    token = models.CharField(
        max_length=100, blank=True, default="", db_default="", help_text="API token of the request, if any."
    )
    action = models.CharField(max_length=40)
    subject = models.CharField(max_length=200)
    detail = models.TextField(blank=True)

    class Meta:
        ordering = ("-id",)
        verbose_name = "audit entry"
        verbose_name_plural = "audit trail"

    def __str__(self) -> str:
        return f"{self.person or 'system'}: {self.action} {self.subject}"
