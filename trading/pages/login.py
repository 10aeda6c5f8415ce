"""The login: name, password, and for those who have a device a one-time code."""

from typing import Any

from django import forms
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_login_failed

from trading.access.two_factor import check_code, has_device

WRONG_CODE = "This code is not right, or was used already. Wait for the next one; after wrong ones the wait grows."


class LoginForm(AdminAuthenticationForm):
    """Asks for a code where the person has a device, and is throttled for wrong codes as for wrong passwords."""

    otp_token = forms.CharField(
        required=False,
        max_length=16,
        label="One-time code",
        help_text="If you have set them up; a backup code will do.",
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "text"}),
    )

    def clean(self) -> dict[str, Any]:
        """Name and password first, then the code."""
        cleaned: dict[str, Any] = super().clean()
        person = self.get_user()
        if not isinstance(person, User) or not has_device(person):
            return cleaned
        code = cleaned.get("otp_token") or ""
        if not code:
            raise forms.ValidationError("Enter the one-time code of your device.", code="code_needed")
        device = check_code(person, code)
        if device is None:
            user_login_failed.send(
                sender=type(self), credentials={"username": person.get_username()}, request=self.request
            )
            raise forms.ValidationError(WRONG_CODE, code="wrong_code")
        person.otp_device = device  # type: ignore[attr-defined]  # django-otp keeps it in the session at login
        return cleaned
