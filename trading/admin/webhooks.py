"""Webhooks in the admin."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest

from trading.admin.read_only import ReadOnlyMixin
from trading.common.safe_http import ForbiddenAddress
from trading.models import Webhook, WebhookDelivery
from trading.models.webhooks import new_key_id
from trading.notify.webhooks import check_address, signing_key


class WebhookForm(forms.ModelForm):  # type: ignore[type-arg]
    """A webhook; its address is one to which requests may go."""

    url = forms.URLField(assume_scheme="https", max_length=500)

    class Meta:
        model = Webhook
        fields = ("name", "url", "enabled")

    def clean_url(self) -> str:
        """Refuses an address by its look; what its name leads to is checked with each request."""
        url: str = self.cleaned_data["url"]
        try:
            check_address(url)
        except ForbiddenAddress as error:
            raise ValidationError(str(error)) from error
        return url


@admin.register(Webhook)
class WebhookAdmin(admin.ModelAdmin[Webhook]):
    """Webhooks; the signing key is shown when it is made."""

    form = WebhookForm
    list_display = ("name", "url", "enabled", "created_at")
    actions = ("renew_key",)

    def save_model(self, request: HttpRequest, obj: Webhook, form: Any, change: bool) -> None:  # noqa: FBT001
        """Save it; show the key of a new one once."""
        super().save_model(request, obj, form, change)
        if not change:
            messages.warning(request, f"The signing key of {obj}, shown this once: {signing_key(obj)}")

    @admin.action(description="Make a new signing key", permissions=["change"])
    def renew_key(self, request: HttpRequest, queryset: QuerySet[Webhook]) -> None:
        """From now on the chosen webhooks are signed with new keys."""
        for webhook in queryset:
            webhook.key_id = new_key_id()
            webhook.save(update_fields=["key_id"])
            self.log_change(request, webhook, "Made a new signing key.")
            messages.warning(request, f"The signing key of {webhook}, shown this once: {signing_key(webhook)}")


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnlyMixin, admin.ModelAdmin[WebhookDelivery]):
    """The outbox of webhooks."""

    list_display = ("created_at", "webhook", "state", "attempts", "last_error")
    list_filter = ("state", "webhook")
    list_select_related = ("webhook",)
