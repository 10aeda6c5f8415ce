import uuid

from django.core.validators import MaxLengthValidator
from django.db import models


def new_key_id() -> str:
    """Return a new identifier of a signing key. The key is derived from it and SECRET_KEY, and is not stored."""
    return uuid.uuid4().hex


class Webhook(models.Model):
    """An address that receives every notification in a signed request."""

    name = models.CharField(max_length=80, unique=True)
    url = models.URLField(max_length=500, validators=[MaxLengthValidator(500)])
    enabled = models.BooleanField(default=True)
    key_id = models.CharField(max_length=32, default=new_key_id, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name
