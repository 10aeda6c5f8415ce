"""Notifications, their deliveries, and webhooks in the admin."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest

from trading.admin.read_only import ReadOnlyMixin
from trading.common.safe_http import ForbiddenAddress
from trading.models import Delivery, Notification, Webhook
from trading.models.webhooks import new_key_id
from trading.notify.webhooks import check_address, signing_secret


class WebhookForm(forms.ModelForm):  # type: ignore[type-arg]
    """A webhook whose address is allowed."""

    url = forms.URLField(assume_scheme="https", max_length=500)

    class Meta:
        model = Webhook
        fields = ("name", "url", "enabled")

    def clean_url(self) -> str:
        """Check the address as it is written. The addresses that its name resolves to are checked at each request."""
        url: str = self.cleaned_data["url"]
        try:
            check_address(url)
        except ForbiddenAddress as error:
            raise ValidationError(str(error)) from error
        return url


@admin.register(Webhook)
class WebhookAdmin(admin.ModelAdmin[Webhook]):
    """Webhooks. A signing secret is shown once, when it is created."""

    form = WebhookForm
    list_display = ("name", "url", "enabled", "created_at")
    actions = ("renew_key",)

    def save_model(self, request: HttpRequest, obj: Webhook, form: Any, change: bool) -> None:  # noqa: FBT001
        """Save the webhook and show the signing secret of a new one."""
        super().save_model(request, obj, form, change)
        if not change:
            _show_secret(request, obj)

    @admin.action(description="Create a new signing secret", permissions=["change"])
    def renew_key(self, request: HttpRequest, queryset: QuerySet[Webhook]) -> None:
        """Replace the signing secrets of the selected webhooks."""
        for webhook in queryset:
            webhook.key_id = new_key_id()
            webhook.save(update_fields=["key_id"])
            self.log_change(request, webhook, "Created a new signing secret.")
            _show_secret(request, webhook)


def _show_secret(request: HttpRequest, webhook: Webhook) -> None:
    secret = signing_secret(webhook)
    messages.warning(request, f"Copy the signing secret of {webhook} now; it will not be shown again: {secret}")


class DeliveryInline(ReadOnlyMixin, admin.TabularInline[Delivery, Notification]):
    """The deliveries of a notification, one for each channel."""

    model = Delivery
    fields = ("channel", "state", "attempts", "next_attempt_at", "last_error", "sent_at")
    readonly_fields = fields


@admin.register(Notification)
class NotificationAdmin(ReadOnlyMixin, admin.ModelAdmin[Notification]):
    """Notifications with their deliveries."""

    list_display = ("created_at", "kind", "title")
    list_filter = ("kind", "deliveries__state")
    search_fields = ("title", "body")
    inlines = (DeliveryInline,)


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyMixin, admin.ModelAdmin[Delivery]):
    """The outbox."""

    list_display = ("created_at", "channel", "notification", "state", "attempts", "last_error")
    list_filter = ("state", "channel")
    list_select_related = ("notification",)
