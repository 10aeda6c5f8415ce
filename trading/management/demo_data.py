"""Sample data of the demo: three accounts with drift, three strategies, and users with different permissions."""

from datetime import datetime, time, timedelta
from decimal import Decimal

from django.contrib.auth.models import Permission, User
from django.utils import timezone

from accounts.models import Account, RebalancePolicy, ReplacementRule, ReplacementSet, Strategy, TargetAllocation
from brokers.exchange_calendar import NEW_YORK
from brokers.simulated.market import past_prices
from brokers.simulated.matching_engine import open_account, set_position
from brokers.simulated.models import SimulatedAccount
from trading.engine.daily_valuation import value_slot
from trading.journal.account_status import store_history
from trading.models import AccountValue

PASSWORD = "demo"  # noqa: S105 - printed by the command; the demo is reachable from this machine only
USERS = {
    "demo": "all permissions",
    "trader": "can preview, submit orders and pause trading",
    "viewer": "can view and preview",
}
VIEW_MODELS = ("account", "strategy", "replacementset", "rebalancerun", "strategyevent", "order", "notification")
PERMISSIONS = {
    "trader": ("preview_account", "execute_account", "change_tradingcontrol"),
    "viewer": ("preview_account",),
}

STRATEGIES = {"balanced-60-40": "Balanced 60/40", "all-weather": "All weather", "global-growth": "Global growth"}
TARGETS = {
    "balanced-60-40": {"VTI": "0.35", "VXUS": "0.23", "BND": "0.27", "BNDX": "0.08", "VNQ": "0.05"},
    "all-weather": {"VTI": "0.30", "TLT": "0.40", "IEF": "0.15", "GLD": "0.075", "DBC": "0.075"},
    "global-growth": {"VTI": "0.45", "QQQ": "0.20", "VEA": "0.20", "VWO": "0.10", "GLD": "0.05"},
}
ACCOUNTS = {
    "SIM-1001": ("Family portfolio", "balanced-60-40", None, "8680"),
    "SIM-1002": ("Retirement (IRA)", "all-weather", "ira", "1458"),
    "SIM-1003": ("Taxable", "global-growth", None, "21400"),
}
"""Name, strategy, replacement set and cash in USD of each account."""
HISTORY_DAYS = 365
POSITIONS = {
    "SIM-1001": {"VTI": 302, "VXUS": 645, "BND": 745, "BNDX": 345, "VNQ": 84, "ITOT": 55},
    "SIM-1002": {"VTI": 108, "TLT": 541, "IEF": 188, "GLD": 24, "PDBC": 670},
    "SIM-1003": {"VTI": 85, "QQQ": 27, "VEA": 210, "VWO": 155, "AAPL": 20},
}


def seed() -> None:
    """Create what is missing. Existing rows are unchanged, so that a second demo continues the first."""
    _users()
    policy, _ = RebalancePolicy.objects.get_or_create(
        name="demo",
        defaults={
            "allocation_threshold_percent": Decimal(1),
            "minimum_cash_reserve_usd": Decimal(100),
        },
    )
    ira, new = ReplacementSet.objects.get_or_create(name="ira", defaults={"description": "No K-1 forms"})
    if new:
        ReplacementRule.objects.create(replacement_set=ira, source="DBC", target="PDBC")
        ReplacementRule.objects.create(replacement_set=ira, source="UUP", target="USDU")
    for name, title in STRATEGIES.items():
        strategy, new = Strategy.objects.get_or_create(
            name=name, defaults={"title": title, "source": Strategy.Source.STATIC}
        )
        if new:
            for symbol, weight in TARGETS[name].items():
                TargetAllocation.objects.create(strategy=strategy, symbol=symbol, weight=Decimal(weight))
    for account_id, (name, strategy_name, replacements, cash) in ACCOUNTS.items():
        if not Account.objects.filter(account_id=account_id).exists():
            Account.objects.create(
                account_id=account_id,
                name=name,
                broker="simulated",
                strategy=Strategy.objects.get(name=strategy_name),
                replacement_set=ira if replacements else None,
                policy=policy,
                cash_reserve_percent=Decimal(2),
                trade_guard=Account.TradeGuard.NONE,
            )
        if open_account(account_id, cash_usd=Decimal(cash)):
            for symbol, shares in POSITIONS[account_id].items():
                set_position(account_id, symbol, Decimal(shares))
            _history(account_id)
    for connection_id in set(Account.objects.filter(account_id__in=ACCOUNTS).values_list("connection_id", flat=True)):
        value_slot(connection_id)  # so that the first page shows how the accounts stand


def _history(account_id: str) -> None:
    """Store the account's value at each close of the past year, at the prices of the simulated market."""
    account = Account.objects.get(account_id=account_id)
    simulated = SimulatedAccount.objects.get(account_id=account_id)
    quantities = {position.symbol: position.quantity for position in simulated.positions.all()}
    shares = {symbol: f"{quantity:f}" for symbol, quantity in quantities.items()}
    today = timezone.localdate()
    values = []
    for days in range(HISTORY_DAYS, 0, -1):
        close = datetime.combine(today - timedelta(days=days), time(16), NEW_YORK)
        prices = past_prices(quantities, close)
        value = simulated.cash_usd + sum((quantities[symbol] * price for symbol, price in prices.items()), Decimal(0))
        values.append(
            AccountValue(account=account, at=close, total_value_usd=value, cash_usd=simulated.cash_usd, shares=shares)
        )
    store_history(values)


def _users() -> None:
    for name in USERS:
        user, new = User.objects.get_or_create(
            username=name, defaults={"is_staff": True, "is_superuser": name not in PERMISSIONS}
        )
        if new:
            user.set_password(PASSWORD)
            user.save()
        if name in PERMISSIONS:
            codenames = [*PERMISSIONS[name], *(f"view_{model}" for model in VIEW_MODELS)]
            user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
