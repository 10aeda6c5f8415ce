"""Import and export of accounts.yaml, in the format of existing installations."""

from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Self

from django.core.exceptions import ValidationError as ModelInvalid
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from accounts.models import Account, RebalancePolicy, ReplacementSet, Strategy
from accounts.refusal_text import quoted, shortened
from accounts.simulated_accounts import ensure_simulated_account
from accounts.yaml.fields import Number, Text
from accounts.yaml.reading import ImportRefused, Report, problems_of, read_yaml, repeated, save_all
from accounts.yaml.writing import write_yaml


class AccountEntry(BaseModel):
    """One account of the file. `pdt_protection_enabled` is the former name of the trade guard `once_per_session`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    account_id: Text = Field(min_length=1, max_length=32)
    type: Literal["paper", "live"] = "paper"
    enabled: bool = True
    strategy_name: Text | None = None
    replacement_set: Text | None = None
    cash_reserve_percent: Number = Field(default=Decimal(0), ge=0, lt=100, allow_inf_nan=False)
    pdt_protection_enabled: bool | None = None
    trade_guard: Literal["pdt_legacy", "once_per_session", "cash_settlement", "none"] | None = None
    broker: Text = "ibkr"
    name: Text | None = None
    policy: Text | None = None
    live_armed: bool | None = None
    trading_paused: bool | None = None

    @model_validator(mode="after")
    def _one_trade_guard(self) -> Self:
        enabled = self.pdt_protection_enabled
        if self.trade_guard and enabled is not None and enabled != (self.trade_guard != "none"):
            message = f"pdt_protection_enabled and trade_guard ({self.trade_guard}) contradict each other"
            raise ValueError(message)
        return self

    def wanted_guard(self) -> str:
        """Return the trade guard of the entry; by default `once_per_session`."""
        if self.trade_guard:
            return self.trade_guard
        return "none" if self.pdt_protection_enabled is False else "once_per_session"


def import_accounts(path: Path, *, dry_run: bool = False) -> Report:
    """Import the file, completely or not at all. Accounts that are not in the file are not changed.

    Raises:
        ImportRefused: With every problem in the file. Nothing has changed.
    """
    return save_all(_entries(path), lambda entries: _import(path.name, entries), dry_run=dry_run)


def _entries(path: Path) -> list[AccountEntry]:
    content = read_yaml(path)
    rows = content.get("accounts") if isinstance(content, dict) else None
    if not isinstance(rows, list):
        raise ImportRefused([f"{path.name}: `accounts` must be a list of accounts."])
    entries, problems = [], []
    for number, row in enumerate(rows, start=1):
        label = row.get("account_id", "without account_id") if isinstance(row, dict) else "not a mapping"
        try:
            entries.append(AccountEntry.model_validate(row))
        except ValidationError as error:
            problems += problems_of(error, f"{path.name}: entry {number} ({shortened(label)})")
    ids = [entry.account_id for entry in entries]
    problems += [f"{path.name}: account {each}: account_id: appears {count} times." for each, count in repeated(ids)]
    if problems:
        raise ImportRefused(problems)
    return entries


def _import(file: str, entries: list[AccountEntry]) -> Report:
    report, problems = Report(), []
    for number, entry in enumerate(entries, start=1):
        where = f"{file}: entry {number} ({entry.account_id})"
        try:
            _import_one(entry, report)
        except ModelInvalid as error:
            fields = error.message_dict.items()
            problems += [f"{where}: {field}: {message}" for field, messages in fields for message in messages]
    if problems:
        raise ImportRefused(problems)
    named = {entry.account_id for entry in entries}
    if others := Account.objects.exclude(account_id__in=named).values_list("account_id", flat=True):
        report.notes = (f"Not in the file, not changed: {', '.join(others)}.",)
    return report


def _import_one(entry: AccountEntry, report: Report) -> None:
    account = Account.objects.filter(account_id=entry.account_id).first() or Account(account_id=entry.account_id)
    new = account.pk is None
    changes = {field: value for field, value in _wanted(entry).items() if new or getattr(account, field) != value}
    if not new and not changes:
        report.unchanged += 1
        return
    for field, value in changes.items():
        setattr(account, field, value)
    account.full_clean(exclude=["connection"])
    account.save()
    ensure_simulated_account(account)
    report.created += new
    report.changed += not new


def _wanted(entry: AccountEntry) -> dict[str, Any]:
    wanted: dict[str, Any] = {
        "type": entry.type,
        "enabled": entry.enabled,
        "broker": entry.broker,
        "cash_reserve_percent": entry.cash_reserve_percent,
        "trade_guard": entry.wanted_guard(),
        "strategy": _strategy(entry.strategy_name),
        "replacement_set": _by_name(
            ReplacementSet, "replacement_set", entry.replacement_set, "import_replacement_sets"
        ),
        "policy": _by_name(RebalancePolicy, "policy", entry.policy, "the admin"),
        "name": entry.name,
        "live_armed": entry.live_armed,
        "trading_paused": entry.trading_paused,
    }
    # Fields that the former format does not have are changed only if the file sets them.
    optional = {"policy", "name", "live_armed", "trading_paused"}
    return {field: value for field, value in wanted.items() if value is not None or field not in optional}


def _strategy(name: str | None) -> Strategy | None:
    """Return the strategy. A new one is created with the allocations service as its source."""
    if name is None:
        return None
    strategy = Strategy.objects.filter(name=name).first() or Strategy(name=name)
    if strategy.pk is None:
        try:
            strategy.full_clean()
        except ModelInvalid as error:
            raise ModelInvalid({"strategy_name": error.messages}) from error
        strategy.save()
    return strategy


def _by_name(model: Any, field: str, name: str | None, how: str) -> Any:
    found = None if name is None else model.objects.filter(name=name).first()
    if name is not None and found is None:
        raise ModelInvalid({field: f"Unknown {field.replace('_', ' ')} {quoted(name)}. Create it first ({how})."})
    return found


def export_accounts() -> str:
    """Return all accounts in the format of `import_accounts`, without default values that the former format lacks."""
    rows = []
    accounts = Account.objects.with_followed_strategy().select_related("replacement_set", "policy")
    for account in accounts.order_by("account_id"):
        row: dict[str, Any] = {"account_id": account.account_id, "type": account.type, "enabled": account.enabled}
        if account.followed_strategy:
            row["strategy_name"] = account.followed_strategy.name
        if account.replacement_set:
            row["replacement_set"] = account.replacement_set.name
        row["cash_reserve_percent"] = account.cash_reserve_percent
        row["pdt_protection_enabled"] = account.trade_guard != Account.TradeGuard.NONE
        if account.trade_guard not in {Account.TradeGuard.NONE, Account.TradeGuard.ONCE_PER_SESSION}:
            row["trade_guard"] = account.trade_guard
        row |= {
            field: getattr(account, field)
            for field, default in (("broker", "ibkr"), ("name", ""), ("live_armed", False), ("trading_paused", False))
            if getattr(account, field) != default
        }
        if account.policy:
            row["policy"] = account.policy.name
        rows.append(row)
    return write_yaml({"accounts": rows})
