"""The policy of an account, resolved once and stored on the run."""

from collections.abc import Mapping
from datetime import time
from decimal import Decimal
from typing import Any, Literal

from django.conf import settings
from django.forms.models import model_to_dict
from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer, model_validator

from accounts.models import Account, RebalancePolicy
from brokers.broker_types import TimeInForce
from calculator import AccountConfig, ReplacementLimits

# Fields of the policy whose name in the calculator differs.
COMMISSION_NAMES = {
    "commission_kind": "kind",
    "commission_rate": "rate",
    "commission_per_share_usd": "per_share",
    "commission_minimum_usd": "min_per_order",
    "commission_max_rate": "max_rate",
}
# Fields that runs stored before they existed do not contain.
LATER_SIZING_NAMES = {name: name for name in ("one_share_min_weight_percent",)}
# What the calculator can do and no policy has a field for.
NOT_IN_POLICIES = {"minimum_trade_usd", "outside_model_of", "set_aside_usd"}
RENAMED_SIZING_NAMES = {
    "minimum_cash_reserve_usd": "min_cash_usd",
    "allocation_threshold_percent": "band_percent",
    "unmanaged": "outside_model",
}
SIZING_NAMES = RENAMED_SIZING_NAMES | {
    name: name
    for name in AccountConfig.model_fields
    if name not in {"commission", *RENAMED_SIZING_NAMES.values(), *LATER_SIZING_NAMES, *NOT_IN_POLICIES}
}
REPLACEMENT_NAMES = {name: name for name in ReplacementLimits.model_fields}


class FrozenPolicy(BaseModel):
    """Everything that decides how an account is rebalanced. Units as in `RebalancePolicy`.

    Runs store it as one flat object with the field names of `RebalancePolicy`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sizing: AccountConfig
    replacements: ReplacementLimits
    trade_guard: str
    max_account_utilization: Decimal
    order_tif: TimeInForce
    order_timeout_seconds: int
    max_turnover_percent: Decimal
    quote_max_age_seconds: int
    max_spread_percent: Decimal
    allow_delayed_quotes: bool
    synthetic_ask_enabled: bool
    synthetic_ask_offset_usd: Decimal
    minutes_before_close: int
    preview_valid_seconds: int
    max_price_move_percent: Decimal
    price_cache_ttl_seconds: int
    market_data_type: int
    connection_timeout_seconds: Decimal
    request_timeout_seconds: Decimal
    allocation_timeout_seconds: Decimal
    max_concurrent_accounts: int
    next_execution_time: time
    # These have defaults because runs stored before the fields existed do not contain them.
    max_targets_age_days: int = 365
    missed_schedule: Literal["run_late", "skip", "next_open"] = "run_late"
    schedule_retries: int = 3
    auto_approve_turnover_percent: Decimal | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_flat(cls, flat: Mapping[str, Any]) -> dict[str, Any]:
        fields = dict(flat)

        def take(names: Mapping[str, str]) -> dict[str, Any]:
            # A field that is added to the calculator later belongs to LATER_SIZING_NAMES.
            if missing := names.keys() - fields.keys():
                raise ValueError(f"Missing fields: {', '.join(sorted(missing))}")
            return {inner: fields.pop(name) for name, inner in names.items()}

        sizing = take(SIZING_NAMES) | {"commission": take(COMMISSION_NAMES)}
        sizing |= take({name: inner for name, inner in LATER_SIZING_NAMES.items() if name in fields})
        replacements = take(REPLACEMENT_NAMES)
        return fields | {"sizing": sizing, "replacements": replacements}

    @model_serializer(mode="wrap")
    def _to_flat(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        sizing, replacements = fields.pop("sizing"), fields.pop("replacements")
        parts = (
            (sizing["commission"], COMMISSION_NAMES),
            (sizing, SIZING_NAMES | LATER_SIZING_NAMES),
            (replacements, REPLACEMENT_NAMES),
        )
        return fields | {name: part[inner] for part, names in parts for name, inner in names.items()}


def resolve_policy(account: Account) -> FrozenPolicy:
    """Return the account's current policy, with its cash reserve, its trade guard and its strategy's approval rule."""
    policy = account.policy or RebalancePolicy.objects.get(is_default=True)
    uninvested_percent = (1 - policy.max_account_utilization) * 100
    # A queue task has a time limit, which covers two phases of orders with the timeout of the installation.
    timeout = min(policy.order_timeout_seconds or settings.ORDER_TIMEOUT_SECONDS, settings.ORDER_TIMEOUT_SECONDS)
    strategy = account.followed_strategy
    return FrozenPolicy.model_validate(
        model_to_dict(policy, exclude=("id", "is_default"))
        | {
            "cash_reserve_percent": max(account.cash_reserve_percent, uninvested_percent),
            "trade_guard": account.trade_guard,
            "order_timeout_seconds": timeout,
            "auto_approve_turnover_percent": strategy and strategy.auto_approve_turnover_percent,
        }
    )


def needs_one_time_code(account: Account) -> bool:
    """Return whether submitting orders of the account requires a two-factor code."""
    required = settings.ONE_TIME_CODES_REQUIRED_FOR
    return bool(required == "execute" or (required == "live" and account.type == Account.Type.LIVE))
