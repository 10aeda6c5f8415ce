from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models
from django.utils import timezone


class UserSession(AbstractBaseSession):
    """A session of the site. The key is stored as a digest, so that a dump contains no key of a live session."""

    session_key = models.CharField(max_length=64, primary_key=True, help_text="Digest of the key in the cookie.")
    user = models.ForeignKey("auth.User", null=True, on_delete=models.CASCADE, related_name="sessions")
    address = models.CharField(max_length=45, blank=True, help_text="Address of the login.")
    browser = models.CharField(max_length=200, blank=True)
    started_at = models.DateTimeField(default=timezone.now)
    last_seen_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        ordering = ("-last_seen_at",)
        verbose_name = "session"

    def __str__(self) -> str:
        return f"{self.user} from {self.address or 'an unknown address'}"
