from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest

from trading.access.api_tokens import create_token, creation_refusal, revoke
from trading.access.audit import note
from trading.admin.read_only import ReadOnlyMixin
from trading.models import ApiScope, ApiToken, AuditEntry, Authenticator, UserSession
from trading.pages.layout import user_of

MAX_DAYS, DEFAULT_DAYS = 365, 90


class ApiTokenForm(forms.ModelForm):  # type: ignore[type-arg]
    """Form to create a token."""

    scopes = forms.MultipleChoiceField(choices=ApiScope.choices, widget=forms.CheckboxSelectMultiple)
    days = forms.IntegerField(label="Lifetime in days", min_value=1, max_value=MAX_DAYS, initial=DEFAULT_DAYS)
    request: HttpRequest

    class Meta:
        model = ApiToken
        fields = ("name", "scopes", "days")

    def clean_scopes(self) -> list[str]:
        """Refuse scopes that the user may not give now."""
        scopes: list[str] = self.cleaned_data["scopes"]
        if refusal := creation_refusal(scopes, user_of(self.request)):
            raise ValidationError(refusal.message)
        return scopes


@admin.register(ApiToken)
class ApiTokenAdmin(admin.ModelAdmin[ApiToken]):
    """API tokens: users create and revoke their own; a superuser sees and revokes all."""

    form = ApiTokenForm
    list_display = ("name", "owner", "beginning", "scopes", "expires_at", "last_used_at", "revoked_at")
    list_select_related = ("owner",)
    readonly_fields = ("owner", "beginning", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at")
    actions = ("revoke_tokens",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        """Return the user's own tokens, or all for a superuser."""
        tokens = super().get_queryset(request)
        person = user_of(request)
        return tokens if person.is_superuser else tokens.filter(owner=person)

    def get_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> Any:
        """Return the form fields of a new token, or all fields of an existing one."""
        return ("name", "scopes", "days") if obj is None else ("name", *self.readonly_fields)

    def get_readonly_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> Any:
        """Return no field of a new token, and all fields of an existing one."""
        return () if obj is None else ("name", *self.readonly_fields)

    def get_form(self, request: HttpRequest, obj: ApiToken | None = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002
        """Return the form with its request; an existing token has no form."""
        if obj is not None:
            return super().get_form(request, obj, change, form=forms.ModelForm, **kwargs)
        form = super().get_form(request, obj, change, **kwargs)
        form.request = request  # type: ignore[attr-defined]
        return form

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:  # noqa: FBT001
        """Create the token and show it once."""
        if change:
            return
        person = user_of(request)
        made, token = create_token(
            obj.name, person, form.cleaned_data["scopes"], days=form.cleaned_data["days"], created_by=person
        )
        obj.pk, obj.owner, obj.expires_at = made.pk, person, made.expires_at
        messages.warning(request, f"Copy this token now; it will not be shown again: {token}")

    def has_delete_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        """Refuse deletion: tokens are revoked, and their rows stay."""
        return False

    @admin.action(description="Revoke", permissions=["change"])
    def revoke_tokens(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        """Revoke the selected tokens."""
        for token in queryset:
            revoke(token)
            note("api token revoked", str(token))
        messages.success(request, f"{len(queryset)} tokens revoked.")


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyMixin, admin.ModelAdmin[AuditEntry]):
    """The audit trail."""

    list_display = ("at", "person", "token", "address", "action", "subject", "detail")
    list_filter = ("action", "person")
    search_fields = ("person", "token", "action", "subject", "detail", "address")
    date_hierarchy = "at"


@admin.register(Authenticator)
class AuthenticatorAdmin(admin.ModelAdmin[Authenticator]):
    """Two-factor devices. Deleting one removes the second factor of its user, for example of a lost device."""

    list_display = ("user", "name", "confirmed", "created_at", "last_used_at")
    list_select_related = ("user",)
    fields = readonly_fields = list_display

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse additions: users set up their own devices."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Authenticator | None = None) -> bool:
        """Refuse changes."""
        return False


@admin.register(UserSession)
class UserSessionAdmin(ReadOnlyMixin, admin.ModelAdmin[UserSession]):
    """Sessions of all users."""

    list_display = ("user", "address", "browser", "started_at", "last_seen_at", "expire_date")
    list_select_related = ("user",)
    fields = list_display
    actions = ("end_sessions",)

    @admin.action(description="End", permissions=["view"])
    def end_sessions(self, request: HttpRequest, queryset: QuerySet[UserSession]) -> None:
        """End the selected sessions."""
        for session in queryset:
            note("session ended", str(session))
        messages.success(request, f"{queryset.delete()[0]} sessions ended.")
