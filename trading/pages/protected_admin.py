"""The admin site: changes that disarm safety need a fresh two-factor code, and are reported to the operators.

`ProtectedAdminSite.register` adds the protection to each admin class, by the table in `trading.access.disarming`.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin import AdminSite, ModelAdmin
from django.db.models import Model, QuerySet
from django.db.models.base import ModelBase
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import URLPattern, reverse

from trading.access.audit import note, note_refusal
from trading.access.disarming import Rule, disarms, resume_refusal, rule_of
from trading.access.fresh_code import enter_code, is_fresh, needs_code, require_fresh_code
from trading.actions.safety_report import report_change
from trading.errors import Refused
from trading.pages.ended_session import pending_messages
from trading.pages.layout import user_of
from trading.pages.refusals import show_refusal

CODE_FIELD = "otp_token"
WRONG_CODE = "Nothing was changed. The two-factor code is invalid or expired; enter the next one."
ROWS_NAMED = 20
"""Maximum number of rows that a report names."""
OWN_VIEWS = {"add", "change", "changelist", "delete", "history"}
"""Views of an admin class that either write nothing or are protected one by one."""


class ProtectedMixin:
    """Protect an admin class. The rule decides which changes need a code; each of them is reported."""

    rule: Rule
    model: type[Model]

    def get_urls(self) -> list[URLPattern]:
        """Protect every view that the class adds, such as a password form or an import."""
        urls: list[URLPattern] = super().get_urls()  # type: ignore[misc]
        prefix = self.model._meta.label_lower.replace(".", "_") + "_"  # noqa: SLF001 - Django's name for it
        for pattern in urls:
            if pattern.name and pattern.name.removeprefix(prefix) not in OWN_VIEWS:
                pattern.callback = self._protected(pattern.callback, pattern.name.removeprefix(prefix))
        return urls

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponseBase:
        """Show a field for the code where one is needed. A refused change is undone, and its form shown again."""
        view: Callable[..., HttpResponseBase] = super().changeform_view  # type: ignore[misc]
        try:
            if request.method == "POST" and (code := request.POST.get(CODE_FIELD, "")):
                _take_code(request, code)
            return view(request, object_id, form_url, _with_code_field(request, extra_context))
        except Refused as refusal:
            note_refusal(refusal.code, request.path)
            request.refusal = refusal  # type: ignore[attr-defined]  # for `get_form`
            return view(request, object_id, form_url, _with_code_field(request, extra_context))

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002 - Django's
        """Return the form; after a refusal, a form that shows it."""
        form = super().get_form(request, obj, change=change, **kwargs)  # type: ignore[misc]
        refusal: Refused | None = getattr(request, "refusal", None)
        return type(form)(form.__name__, (_RefusedForm, form), {"refusal": refusal}) if refusal else form

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Any:  # noqa: FBT001 - Django's
        """Check the changed fields before anything is saved."""
        values = {name: form.cleaned_data.get(name) for name in form.changed_data}
        self._check(request, form.instance, "changed" if change else "added", values)
        return super().save_form(request, form, change)  # type: ignore[misc]

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:  # noqa: FBT001 - Django's
        """Check changed rows of the form."""
        if formset.has_changed() and change:
            self._check(request, form.instance, "changed", {formset.prefix: None})
        super().save_formset(request, form, formset, change)  # type: ignore[misc]

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponseBase:
        """Check a deletion."""
        view: Callable[..., HttpResponseBase] = super().delete_view  # type: ignore[misc]
        row = self.get_object(request, object_id)  # type: ignore[attr-defined]
        try:
            if request.method == "POST" and row is not None:
                self._check(request, row, "deleted", {})
        except Refused as refusal:
            return _ask_for_code(request, refusal)
        return view(request, object_id, extra_context)

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """Check an action on the selected rows, and report it."""
        names = set(request.POST.getlist("action")) - {""}
        chosen = {name for name in names if self.rule.actions.get(name, True)}
        rows = queryset.filter(pk__in=request.POST.getlist("_selected_action"))
        if request.POST.get("select_across", "0") != "0":
            rows = queryset
        try:
            for row in rows if chosen else ():
                if "delete_selected" in chosen:
                    self._check(request, row, "deleted", {})
                else:
                    self._check(request, row, "changed", _values_of_action(chosen))
        except Refused as refusal:
            return _ask_for_code(request, refusal)
        affected = ", ".join(map(str, rows[:ROWS_NAMED]))
        answer = super().response_action(request, queryset)  # type: ignore[misc]
        if "delete_selected" not in chosen:  # which reports itself, once it is confirmed
            self._report(request, f"{affected}: {', '.join(chosen)}")
        return answer

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Report an added row that disarms safety."""
        entry = super().log_addition(request, obj, message)  # type: ignore[misc]
        self._report(request, f"{obj}: {entry.get_change_message()}")
        return entry

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Report a change that disarms safety."""
        entry = super().log_change(request, obj, message)  # type: ignore[misc]
        self._report(request, f"{obj}: {entry.get_change_message()}")
        return entry

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """Report deleted rows that protected something."""
        self._report(request, f"{', '.join(map(str, queryset[:ROWS_NAMED]))}: deleted")
        return super().log_deletions(request, queryset)  # type: ignore[misc]

    def _report(self, request: HttpRequest, change: str) -> None:
        """Report the change of the request, once."""
        if getattr(request, "reports_safety_change", False) and not getattr(request, "is_reported", False):
            request.is_reported = True  # type: ignore[attr-defined]
            kind = self.model._meta.verbose_name  # noqa: SLF001 - Django's name for it
            report_change(user_of(request), f"{kind} {change}")

    def _check(self, request: HttpRequest, row: Any, verb: str, values: Mapping[str, Any]) -> None:
        """Check a change; mark the request if it disarms safety.

        Raises:
            Refused: a code is needed, or another user.
        """
        if not disarms(self.rule, row, verb=verb, changes=values):
            return
        user = user_of(request)
        require_fresh_code(request, user, concerns_live=self.rule.concerns_live(row))
        if values.get("trading_paused") is False and (refusal := resume_refusal(row, user)):
            raise refusal
        request.reports_safety_change = True  # type: ignore[attr-defined]  # read by `safety_report`

    def _protected(self, view: Callable[..., HttpResponseBase], name: str) -> Callable[..., HttpResponseBase]:
        """Require a code for a POST to a view that this class knows nothing about, and report it."""

        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if request.method != "POST" or not request.user.is_authenticated:
                return view(request, *args, **kwargs)
            key = next(iter((*args, *kwargs.values())), None)
            row = self.get_object(request, key) if key is not None else None  # type: ignore[attr-defined]
            values: dict[str, Any] = {name: None}
            if getattr(row, "trading_paused", False) and not request.POST.get("trading_paused"):
                values["trading_paused"] = False  # reverting to a former version resumes trading
            try:
                self._check(request, row or self.model(), "changed", values)
                answer = view(request, *args, **kwargs)
            except Refused as refusal:
                return _ask_for_code(request, refusal)
            if answer.status_code < 400:
                self._report(request, f"{row or ''}: {name}")
            return answer

        return guarded


class _RefusedForm:
    """A form with an error: the change was refused."""

    refusal: Refused

    def clean(self) -> Any:
        cleaned = super().clean()  # type: ignore[misc]
        self.add_error(None, self.refusal.message)  # type: ignore[attr-defined]
        return cleaned


class ProtectedAdminSite(AdminSite):
    """The admin site of the product."""

    def login(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """Show the messages of the page that led here, and keep them for the page after the login."""
        return super().login(request, {**(extra_context or {}), "pending_messages": pending_messages(request)})

    def password_change(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """Report a user's new password, in case that somebody else has set it. The form asks for the old one."""
        answer = super().password_change(request, extra_context)
        if request.method == "POST" and answer.status_code == HTTPStatus.FOUND:
            user = user_of(request)
            note("password changed", user.get_username())
            report_change(user, "password changed")
        return answer

    def register(
        self,
        model_or_iterable: Any,
        admin_class: Any = None,
        **options: Any,
    ) -> None:
        """Register models; those whose changes can disarm safety get a protected admin class."""
        single = isinstance(model_or_iterable, ModelBase)
        models: Iterable[type[Model]] = (model_or_iterable,) if single else model_or_iterable
        for model in models:
            chosen: Any = admin_class or ModelAdmin
            if rule := rule_of(model):
                parts = {"rule": rule, "__module__": chosen.__module__, "__doc__": chosen.__doc__}
                chosen = type(chosen)(chosen.__name__, (ProtectedMixin, chosen), parts)
            super().register(model, chosen, **options)


def _values_of_action(actions: set[str]) -> dict[str, Any]:
    return {"trading_paused": False} if "resume_trading" in actions else dict.fromkeys(actions)


def _take_code(request: HttpRequest, code: str) -> None:
    if not enter_code(request, user_of(request), code):
        raise Refused("code_missing", WRONG_CODE)


def _with_code_field(request: HttpRequest, context: Any) -> dict[str, Any]:
    shown = needs_code(user_of(request), concerns_live=True) and not is_fresh(request)
    return {**(context or {}), "asks_for_code": shown}


def _ask_for_code(request: HttpRequest, refusal: Refused) -> HttpResponse:
    """Show the refusal on the page where a code can be entered, which leads back to this one."""
    show_refusal(request, refusal)
    return redirect(f"{reverse('trading:enter_code')}?{urlencode({'next': request.get_full_path()})}")
