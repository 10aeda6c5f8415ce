"""Connection slots and frozen policies."""

from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from accounts.models import Account, BrokerConnection, RebalancePolicy
from accounts.policies import FrozenPolicy, resolve_policy

pytestmark = pytest.mark.django_db
CONFIG = yaml.safe_load((Path(__file__).parents[1] / "e2e" / "data" / "config.yaml").read_text())

KEPT = {
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


@pytest.mark.parametrize("key", KEPT, ids=".".join)
def test_a_value_of_the_older_configuration_keeps_its_default(key):
    default = getattr(RebalancePolicy.objects.get(is_default=True), KEPT[key])
    old = CONFIG[key[0]][key[1]]
    assert (f"{default:%H:%M}" if hasattr(default, "hour") else default) in {
        old,
        Decimal(str(old)) if isinstance(old, (int, float)) else old,
    }


def test_the_order_deadline_comes_from_the_environment_unless_the_policy_says_less(settings):
    account = Account.objects.create(account_id="A1", broker="simulated")
    assert resolve_policy(account).order_timeout_seconds == CONFIG["trading"]["order_timeout_seconds"]
    account.policy = RebalancePolicy.objects.create(name="quick", order_timeout_seconds=20)
    assert resolve_policy(account).order_timeout_seconds == 20


@pytest.mark.parametrize(
    ("reserve", "utilization", "expected"), [("0", "0.995", "0.5"), ("2.5", "0.995", "2.5"), ("0", "1", "0")]
)
def test_the_reserve_is_the_larger_of_the_accounts_own_and_what_may_not_be_invested(reserve, utilization, expected):
    policy = RebalancePolicy.objects.create(name="p", max_account_utilization=Decimal(utilization))
    account = Account.objects.create(
        account_id="A1", broker="simulated", policy=policy, cash_reserve_percent=Decimal(reserve)
    )
    assert resolve_policy(account).cash_reserve_percent == Decimal(expected)


def test_a_frozen_policy_survives_json():
    policy = resolve_policy(Account.objects.create(account_id="A1", broker="simulated"))
    assert FrozenPolicy.model_validate(policy.model_dump(mode="json")) == policy


def test_five_accounts_share_a_slot_and_the_sixth_gets_another():
    accounts = [Account.objects.create(account_id=f"A{i}", broker="simulated") for i in range(6)]
    assert len({account.connection_id for account in accounts[:5]}) == 1
    assert accounts[5].connection_id != accounts[0].connection_id


def test_client_ids_are_unique_and_have_nothing_to_do_with_account_numbers():
    for account_id in ("U123", "DU123", "F123"):
        Account.objects.create(
            account_id=account_id, broker="simulated", type="live" if account_id == "U123" else "paper"
        )
    ids = list(BrokerConnection.objects.values_list("client_id", flat=True))
    assert len(ids) == len(set(ids)) == 2
    assert min(ids) >= 101


def test_an_account_that_changes_its_type_moves_to_another_slot():
    account = Account.objects.create(account_id="A1", broker="simulated")
    first = account.connection
    account.type = "live"
    account.save()
    assert account.connection != first
    assert account.connection.environment == "live"
