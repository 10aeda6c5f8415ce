"""Import and export of the targets of static strategies as YAML."""

from pathlib import Path

from django.core.exceptions import ValidationError as ModelInvalid
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from accounts.models import Strategy
from accounts.refusal_text import shortened
from accounts.static_targets import TargetEntry, replace_targets, targets_problem
from accounts.yaml.fields import Text
from accounts.yaml.reading import ImportRefused, Report, problems_of, read_yaml, repeated, save_all
from accounts.yaml.writing import write_yaml


class StrategyEntry(BaseModel):
    """The targets of one strategy; `stocks_named_like_cash` are symbols such as CASH or USD that mean the stock."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stocks_named_like_cash: list[Text] = Field(default_factory=list)
    targets: list[TargetEntry]


def import_targets(path: Path, *, dry_run: bool = False) -> Report:
    """Import the file, completely or not at all. A strategy of the file then has exactly the targets of the file.

    Raises:
        ImportRefused: With every problem in the file. Nothing has changed.
    """
    return save_all(_strategies(path), lambda strategies: _import(path.name, strategies), dry_run=dry_run)


def _strategies(path: Path) -> dict[str, StrategyEntry]:
    content = read_yaml(path)
    if not isinstance(content, dict) or not content:
        raise ImportRefused([f"{path.name}: must contain strategies, each with a list of `targets`."])
    strategies, problems = {}, []
    for name, fields in content.items():
        where = f"{path.name}: strategy {shortened(name)}"
        try:
            entry = StrategyEntry.model_validate(fields)
        except ValidationError as error:
            problems += problems_of(error, where)
            continue
        symbols = [target.symbol for target in entry.targets]
        problems += [f"{where}: symbol: {each} appears {count} times." for each, count in repeated(symbols)]
        rows = [(target.symbol, target.weight) for target in entry.targets]
        if problem := targets_problem(rows, set(entry.stocks_named_like_cash)):
            problems.append(f"{where}: targets: {problem}")
        strategies[name] = entry
    if problems:
        raise ImportRefused(problems)
    return strategies


def _import(file: str, strategies: dict[str, StrategyEntry]) -> Report:
    report, problems = Report(), []
    for name, entry in strategies.items():
        strategy = Strategy.objects.filter(name=name).first() or Strategy(name=name, source=Strategy.Source.STATIC)
        if strategy.source != Strategy.Source.STATIC:
            problems.append(f"{file}: strategy {name}: its targets are published. Set its source to static first.")
            continue
        new, stocks = strategy.pk is None, ", ".join(entry.stocks_named_like_cash)
        renamed = strategy.stocks_named_like_cash != set(entry.stocks_named_like_cash)
        try:
            if new or renamed:
                strategy.cash_like_stocks = stocks
                strategy.full_clean()
                strategy.save()
        except ModelInvalid as error:
            problems += [f"{file}: strategy {shortened(name)}: {message}" for message in error.messages]
            continue
        changed = any(replace_targets(strategy, entry.targets)) or renamed
        report.created += new
        report.changed += changed and not new
        report.unchanged += not changed and not new
    if problems:
        raise ImportRefused(problems)
    return report


def export_targets() -> str:
    """Return the targets of all static strategies in the format of `import_targets`."""
    content = {}
    for strategy in Strategy.objects.filter(source=Strategy.Source.STATIC).prefetch_related("targets"):
        stocks = sorted(strategy.stocks_named_like_cash)
        fields: dict[str, object] = {"stocks_named_like_cash": stocks} if stocks else {}
        rows = [{"symbol": target.symbol, "weight": target.weight} for target in strategy.targets.all()]
        content[strategy.name] = fields | {"targets": rows}
    return write_yaml(content)
