"""API tokens and the audit trail in the admin."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from trading.access.api_tokens import make_token, may_make, revoke
from trading.access.audit import note
from trading.admin.read_only import ReadOnlyMixin
from trading.models import ApiScope, ApiToken, AuditEntry
from trading.pages.layout import user_of

MOST_DAYS, USUAL_DAYS = 365, 90


class ApiTokenForm(forms.ModelForm):  # type: ignore[type-arg]
    """A token to be made: for what, and for how long."""

    scopes = forms.MultipleChoiceField(choices=ApiScope.choices, widget=forms.CheckboxSelectMultiple)
    days = forms.IntegerField(min_value=1, max_value=MOST_DAYS, initial=USUAL_DAYS, help_text="It lives for so long.")
    request: HttpRequest

    class Meta:
        model = ApiToken
        fields = ("name", "scopes", "days")

    def clean_scopes(self) -> list[str]:
        """Refuses what the person may not make now."""
        scopes: list[str] = self.cleaned_data["scopes"]
        if refusal := may_make(scopes, user_of(self.request)):
            raise ValidationError(refusal.message)
        return scopes


@admin.register(ApiToken)
class ApiTokenAdmin(admin.ModelAdmin[ApiToken]):
    """Tokens of the API: a person makes and revokes their own; a superuser sees and revokes all."""

    form = ApiTokenForm
    list_display = ("name", "owner", "beginning", "scopes", "expires_at", "last_used_at", "revoked_at")
    list_select_related = ("owner",)
    readonly_fields = ("owner", "beginning", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at")
    actions = ("revoke_tokens",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        """Their own, or all."""
        tokens = super().get_queryset(request)
        person = user_of(request)
        return tokens if person.is_superuser else tokens.filter(owner=person)

    def get_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> Any:
        """What is asked for a new one; everything of one that is there."""
        return ("name", "scopes", "days") if obj is None else ("name", *self.readonly_fields)

    def get_readonly_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> Any:
        """Nothing of a new one; everything of one that is there."""
        return () if obj is None else ("name", *self.readonly_fields)

    def get_form(self, request: HttpRequest, obj: ApiToken | None = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002
        """The form, which knows who asks; one that is there has none."""
        if obj is not None:
            return super().get_form(request, obj, change, form=forms.ModelForm, **kwargs)
        form = super().get_form(request, obj, change, **kwargs)
        form.request = request  # type: ignore[attr-defined]
        return form

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:  # noqa: FBT001
        """Makes it, and shows it this once."""
        if change:
            return
        person = user_of(request)
        made, token = make_token(
            obj.name, person, form.cleaned_data["scopes"], days=form.cleaned_data["days"], made_by=person
        )
        obj.pk, obj.owner, obj.expires_at = made.pk, person, timezone.now() + timedelta(days=form.cleaned_data["days"])
        messages.warning(request, f"This is the token, shown this once: {token}")

    def has_delete_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        """Nobody: a token is revoked, and its row stays."""
        return False

    @admin.action(description="Revoke", permissions=["change"])
    def revoke_tokens(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        """Ends the chosen tokens."""
        for token in queryset:
            revoke(token)
            note("api token revoked", str(token))
        messages.success(request, f"{len(queryset)} tokens revoked.")


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyMixin, admin.ModelAdmin[AuditEntry]):
    """The audit trail."""

    list_display = ("at", "person", "address", "action", "subject", "detail")
    list_filter = ("action", "person")
    search_fields = ("person", "action", "subject", "detail", "address")
    date_hierarchy = "at"
