"""Import and export of replacement-sets.yaml, in the format of existing installations."""

from decimal import Decimal
from pathlib import Path

from django.core.exceptions import ValidationError as ModelInvalid
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from accounts.models import ReplacementRule, ReplacementSet
from accounts.refusal_text import shortened
from accounts.replacements import find_cycle
from accounts.yaml.fields import Number, Text
from accounts.yaml.reading import ImportRefused, Report, problems_of, read_yaml, repeated, save_all
from accounts.yaml.writing import write_yaml


class RuleEntry(BaseModel):
    """One rule of a set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Text = Field(pattern=r"^[A-Z][A-Z0-9.\-]{0,14}$")
    target: Text = Field(pattern=r"^[A-Z][A-Z0-9.\-]{0,14}$")
    scale: Number = Field(default=Decimal(1), gt=0, le=100, decimal_places=4, allow_inf_nan=False)


_RULES = TypeAdapter(list[RuleEntry])


def import_replacement_sets(path: Path, *, dry_run: bool = False) -> Report:
    """Import the file, completely or not at all. A set in the file then has exactly the rules of the file.

    Raises:
        ImportRefused: With every problem in the file. Nothing has changed.
    """
    return save_all(_sets(path), lambda sets: _import(path.name, sets), dry_run=dry_run)


def _sets(path: Path) -> dict[str, list[RuleEntry]]:
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise ImportRefused([f"{path.name}: must contain sets, each with a list of rules."])
    sets, problems = {}, []
    for name, rows in content.items():
        where = f"{path.name}: set {shortened(name)}"
        try:
            rules = _RULES.validate_python(rows)
        except ValidationError as error:
            problems += problems_of(error, where)
            continue
        sources = [rule.source for rule in rules]
        problems += [f"{where}: source: {each} appears {count} times." for each, count in repeated(sources)]
        if cycle := find_cycle({rule.source: rule.target for rule in rules}):
            problems.append(f"{where}: target: the rules form a cycle: {shortened(' → '.join(cycle), 200)}.")
        sets[name] = rules
    if problems:
        raise ImportRefused(problems)
    return sets


def _import(file: str, sets: dict[str, list[RuleEntry]]) -> Report:
    report = Report()
    for name, rules in sets.items():
        found = ReplacementSet.objects.filter(name=name).first()
        replacement_set = found or ReplacementSet(name=name)
        try:
            replacement_set.full_clean()
        except ModelInvalid as error:
            raise ImportRefused([f"{file}: set {shortened(name)}: {message}" for message in error.messages]) from error
        if found is None:
            replacement_set.save()
        changed = _sync_rules(replacement_set, rules)
        report.created += found is None
        report.changed += found is not None and changed
        report.unchanged += found is not None and not changed
    return report


def _sync_rules(replacement_set: ReplacementSet, rules: list[RuleEntry]) -> bool:
    """Replace the set's rules with those of the file, one by one, so that the history contains each change."""
    known = {rule.source: rule for rule in replacement_set.rules.all()}
    changed = False
    for gone in known.keys() - {rule.source for rule in rules}:
        known[gone].delete()
        changed = True
    for rule in rules:
        row = known.get(rule.source) or ReplacementRule(replacement_set=replacement_set, source=rule.source)
        if row.pk is None or (row.target, row.scale) != (rule.target, rule.scale):
            row.target, row.scale = rule.target, rule.scale
            row.save()
            changed = True
    return changed


def export_replacement_sets() -> str:
    """Return all sets in the format of `import_replacement_sets`."""
    sets = ReplacementSet.objects.order_by("name")
    return write_yaml({each.name: list(each.rules.order_by("id").values("source", "target", "scale")) for each in sets})
