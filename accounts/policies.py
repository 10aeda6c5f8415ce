"""The policy of an account, resolved once and frozen on the run."""

from datetime import time
from decimal import Decimal
from typing import Literal

from django.conf import settings
from django.forms.models import model_to_dict
from pydantic import BaseModel, ConfigDict

from accounts.models import Account, RebalancePolicy
from brokers.broker_types import TimeInForce
from calculator import AccountConfig, Commission, ReplacementLimits


class FrozenPolicy(BaseModel):
    """Everything that decides how an account is rebalanced. Units as in `RebalancePolicy`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    cash_reserve_percent: Decimal
    trade_guard: str
    minimum_cash_reserve_usd: Decimal
    max_account_utilization: Decimal
    commission_kind: Literal["rate", "per_share"]
    commission_rate: Decimal
    commission_per_share_usd: Decimal
    commission_minimum_usd: Decimal
    commission_max_rate: Decimal
    allocation_threshold_percent: Decimal
    buy_slippage_percent: Decimal
    sell_slippage_percent: Decimal
    order_tif: TimeInForce
    order_timeout_seconds: int
    one_share: bool
    one_share_max_overshoot_percent: Decimal
    minimum_improvement_bps: Decimal
    unmanaged: Literal["sell", "keep", "ignore"]
    shorts: Literal["refuse", "keep"]
    normalization_trigger_threshold: Decimal
    normalization_failure_threshold: Decimal
    minimal_non_replaced_allocation_percent: Decimal
    max_turnover_percent: Decimal
    max_frozen_percent: Decimal
    max_data_mismatch_percent: Decimal
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
    # With defaults, since runs keep the policies that were frozen before these were there.
    max_targets_age_days: int = 365
    missed_schedule: Literal["run_late", "skip", "next_open"] = "run_late"
    schedule_retries: int = 3
    auto_approve_turnover_percent: Decimal | None = None

    def calculator_config(self) -> AccountConfig:
        """The part that the calculator needs."""
        return AccountConfig(
            cash_reserve_percent=self.cash_reserve_percent,
            min_cash_usd=self.minimum_cash_reserve_usd,
            buy_slippage_percent=self.buy_slippage_percent,
            sell_slippage_percent=self.sell_slippage_percent,
            band_percent=self.allocation_threshold_percent,
            commission=Commission(
                kind=self.commission_kind,
                rate=self.commission_rate,
                per_share=self.commission_per_share_usd,
                min_per_order=self.commission_minimum_usd,
                max_rate=self.commission_max_rate,
            ),
            one_share=self.one_share,
            one_share_max_overshoot_percent=self.one_share_max_overshoot_percent,
            minimum_improvement_bps=self.minimum_improvement_bps,
            unmanaged=self.unmanaged,
            shorts=self.shorts,
            max_frozen_percent=self.max_frozen_percent,
            max_data_mismatch_percent=self.max_data_mismatch_percent,
        )

    def replacement_limits(self) -> ReplacementLimits:
        """The part that replacements need."""
        return ReplacementLimits(
            normalization_trigger_threshold=self.normalization_trigger_threshold,
            normalization_failure_threshold=self.normalization_failure_threshold,
            minimal_non_replaced_allocation_percent=self.minimal_non_replaced_allocation_percent,
        )


def resolve_policy(account: Account) -> FrozenPolicy:
    """The account's policy as it is now, with its own reserve and trade guard, and its strategy's own rule."""
    policy = account.policy or RebalancePolicy.objects.get(is_default=True)
    values = model_to_dict(policy, exclude=("id", "is_default", "name"))
    uninvested_percent = (1 - policy.max_account_utilization) * 100
    # A task of the queue must end on its own; it is given time for two phases of the installation's deadline.
    deadline = min(policy.order_timeout_seconds or settings.ORDER_TIMEOUT_SECONDS, settings.ORDER_TIMEOUT_SECONDS)
    return FrozenPolicy.model_validate(
        values
        | {
            "name": policy.name,
            "cash_reserve_percent": max(account.cash_reserve_percent, uninvested_percent),
            "trade_guard": account.trade_guard,
            "order_timeout_seconds": deadline,
            "auto_approve_turnover_percent": account.strategy and account.strategy.auto_approve_turnover_percent,
        }
    )


def needs_one_time_code(account: Account) -> bool:
    """Whether orders of the account need a one-time code of the person who sends them."""
    required = settings.ONE_TIME_CODES_REQUIRED_FOR
    return bool(required == "execute" or (required == "live" and account.type == Account.Type.LIVE))
