from typing import Any

from django import forms
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_login_failed

from trading.access.two_factor import check_code, has_device

WRONG_CODE = "Invalid or expired code. Repeated failures delay the next attempt."


class LoginForm(AdminAuthenticationForm):
    """Require a code of users with a device. Wrong codes are throttled like wrong passwords."""

    otp_token = forms.CharField(
        required=False,
        max_length=16,
        label="Two-factor code",
        help_text="Required if 2FA is enabled. Backup codes are accepted.",
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "text"}),
    )

    def clean(self) -> dict[str, Any]:
        """Check username and password first, then the code."""
        cleaned: dict[str, Any] = super().clean()
        user = self.get_user()
        if not isinstance(user, User) or not has_device(user):
            return cleaned
        code = cleaned.get("otp_token") or ""
        if not code:
            raise forms.ValidationError("Enter the two-factor code of your device.", code="code_needed")
        device = check_code(user, code)
        if device is None:
            user_login_failed.send(
                sender=type(self), credentials={"username": user.get_username()}, request=self.request
            )
            raise forms.ValidationError(WRONG_CODE, code="wrong_code")
        user.otp_device = device  # type: ignore[attr-defined]  # django-otp stores it in the session at login
        return cleaned
