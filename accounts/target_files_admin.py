"""Import and export of static targets in the admin of strategies."""

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from accounts.models import Strategy
from accounts.static_targets import replace_targets, targets_problem
from accounts.targets_csv import read_targets, write_targets
from accounts.yaml.reading import ImportRefused

TARGET_PERMISSIONS = tuple(f"accounts.{verb}_targetallocation" for verb in ("add", "change", "delete"))
MAX_FILE_BYTES = 200_000
PROBLEMS_SHOWN = 20


class TargetFileForm(forms.Form):
    """A CSV file with the targets of one strategy."""

    file = forms.FileField(
        label="CSV file", help_text="Columns symbol and weight. A weight is a fraction: 0.25 is 25 %."
    )

    def clean_file(self) -> Any:
        """Reject a file that is too large."""
        file = self.cleaned_data["file"]
        if file.size > MAX_FILE_BYTES:
            raise forms.ValidationError(f"The file is larger than {MAX_FILE_BYTES:,} bytes.")
        return file


class TargetFilesMixin:
    """Adds the pages "Import targets" and "Export targets" to the admin of strategies."""

    def get_urls(self) -> list[URLPattern]:
        """Return the addresses of the admin with those of the two pages."""
        site = self.admin_site.admin_view  # type: ignore[attr-defined]
        own = [
            path("<int:pk>/targets/import/", site(self.import_targets), name="accounts_strategy_import_targets"),
            path("<int:pk>/targets.csv", site(self.export_targets), name="accounts_strategy_export_targets"),
        ]
        return own + super().get_urls()  # type: ignore[misc,no-any-return]

    def export_targets(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Return the static targets of a strategy as CSV."""
        strategy = get_object_or_404(Strategy, pk=pk)
        if not self.has_view_permission(request, strategy):  # type: ignore[attr-defined]
            raise PermissionDenied
        rows = [(target.symbol, f"{target.weight.normalize():f}") for target in strategy.targets.all()]
        response = HttpResponse(write_targets(rows), content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="{strategy.name}-targets.csv"'
        return response

    def import_targets(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Replace the static targets of a strategy by those of a CSV file."""
        strategy = get_object_or_404(Strategy, pk=pk)
        may_change = self.has_change_permission(request, strategy)  # type: ignore[attr-defined]
        if not may_change or not request.user.has_perms(TARGET_PERMISSIONS):
            raise PermissionDenied
        form = TargetFileForm(request.POST or None, request.FILES or None)
        if request.method == "POST" and form.is_valid():
            try:
                changes = _replace(strategy, form.cleaned_data["file"])
            except ImportRefused as refusal:
                for problem in refusal.problems[:PROBLEMS_SHOWN]:
                    form.add_error("file", problem)
            else:
                text = f"{changes.added} targets added, {changes.changed} changed, {changes.removed} removed."
                self.log_change(request, strategy, f"Imported targets: {text}")  # type: ignore[attr-defined]
                messages.success(request, text)
                return redirect(reverse("admin:accounts_strategy_change", args=[pk]))
        context = self.admin_site.each_context(request) | {  # type: ignore[attr-defined]
            "opts": Strategy._meta,  # noqa: SLF001 - Django's name for it
            "title": f"Import targets of {strategy}",
            "original": strategy,
            "form": form,
        }
        return TemplateResponse(request, "admin/accounts/strategy/import_targets.html", context)


def _replace(strategy: Strategy, file: Any) -> Any:
    if strategy.source != Strategy.Source.STATIC:
        raise ImportRefused(["The targets of this strategy are published. Set its source to static first."])
    entries = read_targets(file.read(), file.name)
    rows = [(entry.symbol, entry.weight) for entry in entries]
    if problem := targets_problem(rows, strategy.stocks_named_like_cash):
        raise ImportRefused([f"{file.name}: {problem}"])
    return replace_targets(strategy, entries)
