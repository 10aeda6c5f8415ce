"""Connection slots and frozen policies."""

from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from accounts.models import Account, BrokerConnection, RebalancePolicy, Strategy
from accounts.policies import FrozenPolicy, resolve_policy

pytestmark = pytest.mark.django_db
CONFIG = yaml.safe_load((Path(__file__).parents[1] / "e2e" / "data" / "config.yaml").read_text())

FIELDS = {
    ("ibkr", "request_timeout_seconds"): "request_timeout_seconds",
    ("ibkr", "connection_timeout_seconds"): "connection_timeout_seconds",
    ("ibkr", "price_cache_ttl_seconds"): "price_cache_ttl_seconds",
    ("ibkr", "market_data_type"): "market_data_type",
    ("ibkr", "synthetic_ask_offset_usd"): "synthetic_ask_offset_usd",
    ("trading", "minimum_cash_reserve_usd"): "minimum_cash_reserve_usd",
    ("trading", "commission_rate"): "commission_rate",
    ("trading", "max_account_utilization"): "max_account_utilization",
    ("trading", "order_tif"): "order_tif",
    ("trading", "buy_slippage_percent"): "buy_slippage_percent",
    ("trading", "allocation_threshold_percent"): "allocation_threshold_percent",
    ("replacement", "normalization_trigger_threshold"): "normalization_trigger_threshold",
    ("replacement", "normalization_failure_threshold"): "normalization_failure_threshold",
    ("replacement", "minimal_non_replaced_allocation_percent"): "minimal_non_replaced_allocation_percent",
    ("pdt_protection", "next_execution_time"): "next_execution_time",
    ("executor", "max_workers"): "max_concurrent_accounts",
    ("api", "allocation_timeout_seconds"): "allocation_timeout_seconds",
}


@pytest.mark.parametrize("key", FIELDS, ids=".".join)
def test_policy_default_equals_the_default_of_the_former_config_yaml(key):
    default = getattr(RebalancePolicy.objects.get(is_default=True), FIELDS[key])
    old = CONFIG[key[0]][key[1]]
    assert (f"{default:%H:%M}" if hasattr(default, "hour") else default) in {
        old,
        Decimal(str(old)) if isinstance(old, (int, float)) else old,
    }


def test_order_timeout_is_the_installations_unless_the_policy_has_a_lower_one(settings):
    account = Account.objects.create(account_id="A1", broker="simulated")
    assert resolve_policy(account).order_timeout_seconds == CONFIG["trading"]["order_timeout_seconds"]
    account.policy = RebalancePolicy.objects.create(name="quick", order_timeout_seconds=20)
    assert resolve_policy(account).order_timeout_seconds == 20


@pytest.mark.parametrize(
    ("reserve", "utilization", "expected"), [("0", "0.995", "0.5"), ("2.5", "0.995", "2.5"), ("0", "1", "0")]
)
def test_cash_reserve_is_the_larger_of_the_accounts_and_the_uninvested_share(reserve, utilization, expected):
    policy = RebalancePolicy.objects.create(name="p", max_account_utilization=Decimal(utilization))
    account = Account.objects.create(
        account_id="A1", broker="simulated", policy=policy, cash_reserve_percent=Decimal(reserve)
    )
    assert resolve_policy(account).sizing.cash_reserve_percent == Decimal(expected)


ADDED_LATER = {
    "max_targets_age_days",
    "missed_schedule",
    "schedule_retries",
    "auto_approve_turnover_percent",
    "one_share_min_weight_percent",
}


@pytest.fixture
def policy():
    return resolve_policy(Account.objects.create(account_id="A1", broker="simulated"))


def test_frozen_policy_is_stored_flat_with_the_fields_of_the_model(policy):
    fields = {field.name for field in RebalancePolicy._meta.concrete_fields} - {"id", "is_default"}
    stored = policy.model_dump(mode="json")
    assert stored.keys() == fields | {"cash_reserve_percent", "trade_guard", "auto_approve_turnover_percent"}
    assert (stored["minimum_cash_reserve_usd"], stored["commission_kind"]) == ("100.00", "per_share")
    assert FrozenPolicy.model_validate(stored) == policy


def test_frozen_policy_of_an_older_run_gets_the_defaults_of_later_fields(policy):
    older = {name: value for name, value in policy.model_dump(mode="json").items() if name not in ADDED_LATER}
    assert FrozenPolicy.model_validate(older) == policy


@pytest.mark.parametrize("name", ["one_share", "commission_rate", "normalization_failure_threshold", "order_tif"])
def test_frozen_policy_without_a_field_is_refused_by_name(policy, name):
    stored = policy.model_dump(mode="json")
    del stored[name]
    with pytest.raises(ValidationError, match=name):
        FrozenPolicy.model_validate(stored)


def test_frozen_policy_with_an_unknown_field_is_refused_by_name(policy):
    with pytest.raises(ValidationError, match="surprise"):
        FrozenPolicy.model_validate(policy.model_dump(mode="json") | {"surprise": 1})


def test_accounts_following_a_strategy_are_found_by_its_name():
    strategy = Strategy.objects.create(name="blend")
    account = Account.objects.create(account_id="A1", broker="simulated", strategy=strategy)
    Account.objects.create(account_id="A2", broker="simulated")
    assert [account, strategy] == [Account.objects.following("blend").get(), account.followed_strategy]


def test_assign_slot_with_full_slot_creates_another():
    accounts = [Account.objects.create(account_id=f"A{i}", broker="simulated") for i in range(6)]
    assert len({account.connection_id for account in accounts[:5]}) == 1
    assert accounts[5].connection_id != accounts[0].connection_id


def test_client_ids_are_unique_and_independent_of_account_numbers():
    for account_id in ("U123", "DU123", "F123"):
        Account.objects.create(
            account_id=account_id, broker="simulated", type="live" if account_id == "U123" else "paper"
        )
    ids = list(BrokerConnection.objects.values_list("client_id", flat=True))
    assert len(ids) == len(set(ids)) == 2
    assert min(ids) >= 101


def test_assign_slot_after_change_of_type_moves_the_account():
    account = Account.objects.create(account_id="A1", broker="simulated")
    first = account.connection
    account.type = "live"
    account.save()
    assert account.connection != first
    assert account.connection.environment == "live"
