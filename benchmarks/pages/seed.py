"""Create an installation with two years of data, the same each time."""

import time
from datetime import timedelta
from decimal import Decimal

from benchmarks.installation.site import SIMULATED_SYMBOLS
from calculator.plan_types import CASH

HELD = {"AAPL": 60, "MSFT": 40, "ITOT": 100, "QQQ": 30, "VEA": 300}
STRATEGIES, SETS = 20, 10
HISTORY_DAYS = 365
OTHER_ROWS = 20_000


class Seed:
    """Fills an empty database with the given number of accounts and runs."""

    def __init__(self, accounts, runs):
        from django.utils import timezone

        self.accounts, self.rounds = accounts, runs // accounts
        self.now = timezone.now()

    def fill(self):
        """Create all rows; the first preview and the first execution are real runs, and the others are copies of them."""
        for part in (self._templates, self._users, self._strategies, self._accounts, self._events_and_runs):
            self._timed(part)
        for part in (self._orders, self._timelines, self._values, self._other_rows):
            self._timed(part)

    @staticmethod
    def _timed(part):
        began = time.monotonic()
        part()
        print(f"{part.__name__.strip('_')}: {time.monotonic() - began:.1f} s", flush=True)

    def _templates(self):
        from brokers.simulated.matching_engine import open_account, set_position
        from brokers.simulated.models import SimulatedMarket
        from tests.support.makers import carry_out, simulated_account
        from trading.models.run_documents import ExecCommand

        SimulatedMarket.objects.update_or_create(
            pk=1, defaults={"fill_latency_seconds": 0, "quote_latency_seconds": 0, "frozen_at": self.now}
        )
        weights = {symbol: Decimal(1) / len(SIMULATED_SYMBOLS) for symbol in SIMULATED_SYMBOLS}
        account = simulated_account("TEMPLATE", weights)
        open_account(account.account_id, cash_usd=Decimal(1000))
        for symbol, shares in HELD.items():
            set_position(account.account_id, symbol, Decimal(shares))
        self.preview = carry_out(account, ExecCommand.PRINT_REBALANCE)
        self.execution = carry_out(account)
        assert self.execution.state == "completed", self.execution.error_message

    def _users(self):
        from django.contrib.auth.models import User

        User.objects.create_superuser("bench", password="bench")

    def _strategies(self):
        from accounts.models import RebalancePolicy, ReplacementRule, ReplacementSet, Strategy, TargetAllocation
        from trading.models import PublishedTargets

        weight = Decimal(1) / len(SIMULATED_SYMBOLS)
        self.policies = RebalancePolicy.objects.bulk_create(RebalancePolicy(name=f"policy-{n}") for n in range(5))
        self.strategies = [
            Strategy(name=f"strategy-{n:02}", title=f"Strategy {n}", source="static" if n % 2 else "api",
                     cadence="monthly" if n % 4 == 0 else "none")
            for n in range(STRATEGIES)
        ]  # fmt: skip
        Strategy.objects.bulk_create(self.strategies)
        TargetAllocation.objects.bulk_create(
            TargetAllocation(strategy=strategy, symbol=symbol, weight=weight)
            for strategy in self.strategies
            if strategy.source == "static"
            for symbol in SIMULATED_SYMBOLS
        )
        published = [{"symbol": symbol, "weight": str(weight)} for symbol in SIMULATED_SYMBOLS]
        PublishedTargets.objects.bulk_create(
            PublishedTargets(strategy=strategy, fetched_at=self.now, targets=published)
            for strategy in self.strategies
            if strategy.source == "api"
        )
        self.sets = ReplacementSet.objects.bulk_create(ReplacementSet(name=f"set-{n}") for n in range(SETS))
        pairs = (("DBC", "PDBC"), ("GLD", "IAU"), ("VTI", "ITOT"), ("TLT", "SPTL"), ("VNQ", "SCHH"))
        ReplacementRule.objects.bulk_create(
            ReplacementRule(replacement_set=one, source=source, target=target)
            for one in self.sets
            for source, target in pairs
        )

    def _accounts(self):
        from accounts.models import Account, BrokerConnection

        slots = BrokerConnection.objects.bulk_create(
            BrokerConnection(broker="simulated", environment="paper", client_id=1000 + n)
            for n in range(self.accounts // 5)
        )
        made = Account.objects.bulk_create(
            Account(
                account_id=f"SEED-{n:05}",
                name=f"Account {n}",
                broker="simulated",
                strategy=self.strategies[n % STRATEGIES],
                replacement_set=self.sets[n % SETS] if n % 4 == 0 else None,
                policy=self.policies[n % 5],
                connection=slots[n // 5],
            )
            for n in range(self.accounts)
        )
        self.pks = [account.pk for account in made]

    def _events_and_runs(self):
        """Create one round per week: an event for each strategy, and a run for each of its accounts."""
        from trading.models import RebalanceRun, StrategyEvent

        spread(
            StrategyEvent,
            "generate_series(0, %(rounds)s - 1) round, accounts_strategy s, trading_strategyevent t "
            "WHERE s.name LIKE 'strategy-__' AND t.id = %(event)s ORDER BY round, s.name",
            {"rounds": self.rounds, "event": self.execution.event_id},
            source="'ably'",
            channel="s.name",
            account_id="''",
            message_id="round || '-' || s.name",
            state="CASE WHEN round %% 20 = 0 THEN 'late' ELSE 'accepted' END",
            received_at=f"{self._at}",
            published_at=f"{self._at}",
        )
        # Two percent did not complete, three of five are previews; plans are copied within the database.
        spread(
            RebalanceRun,
            "generate_series(0, %(rounds)s - 1) round, accounts_account a "
            "JOIN accounts_strategy s ON s.id = a.strategy_id, trading_strategyevent e, trading_rebalancerun t "
            "WHERE a.account_id LIKE 'SEED-%%' AND e.message_id = round || '-' || s.name "
            "AND t.id = CASE WHEN (round + a.id) %% 5 < 3 THEN %(preview)s ELSE %(execution)s END ORDER BY round, a.id",
            {"rounds": self.rounds, "preview": self.preview.pk, "execution": self.execution.pk},
            run_id="'s' || lpad((round * %(accounts)s + a.id)::text, 9, '0')",
            account_id="a.id",
            connection_id="a.connection_id",
            event_id="e.id",
            strategy_name="s.name",
            state="CASE (round * 7 + a.id) %% 100 WHEN 0 THEN 'failed' WHEN 1 THEN 'refused' ELSE 'completed' END",
            queued_at=self._at,
            started_at=self._at,
            finished_at=f"{self._at} + interval '20 seconds'",
            accounts=self.accounts,
        )
        RebalanceRun.objects.filter(pk=self._runs().latest("pk").pk).update(state="needs_attention")

    @property
    def _at(self):
        """SQL expression for the time of a round."""
        return f"now() - interval '7 days' * ({self.rounds} - round)"

    def _runs(self):
        from trading.models import RebalanceRun

        return RebalanceRun.objects.filter(account__account_id__startswith="SEED")

    def _orders(self):
        from trading.models import ExecutedSession, Fill, Order

        done = "r.mode = 'execute' AND r.state = 'completed' AND r.id <> %(execution)s"
        ours = {"execution": self.execution.pk}
        spread(
            Order,
            f"trading_rebalancerun r, trading_order t WHERE t.run_id = %(execution)s AND {done} ORDER BY r.id, t.id",
            ours,
            run_id="r.id",
            account_id="r.account_id",
            client_order_id="'rb-' || r.run_id || '-' || t.sequence",
        )
        spread(
            Fill,
            "trading_order o JOIN trading_order was ON was.run_id = %(execution)s AND was.sequence = o.sequence "
            "JOIN trading_fill t ON t.order_id = was.id WHERE o.run_id <> %(execution)s",
            ours,
            order_id="o.id",
        )
        spread(
            ExecutedSession,
            f"trading_rebalancerun r, trading_executedsession t WHERE t.run_id = %(execution)s AND {done}",
            ours,
            account_id="r.account_id",
            run_id="r.id",
            session_date="r.finished_at::date",
        )

    def _timelines(self):
        from trading.models import TimelineEntry

        spread(
            TimelineEntry,
            "trading_rebalancerun r, trading_timelineentry t WHERE t.run_id = %(execution)s AND r.id <> %(execution)s",
            {"execution": self.execution.pk},
            run_id="r.id",
            at="r.queued_at",
        )

    def _values(self):
        from trading.models import AccountStanding, AccountValue, TotalValue

        newest = dict(self._runs().filter(mode="preview").order_by("id").values_list("account_id", "pk"))
        weights = [[symbol, "0.099"] for symbol in SIMULATED_SYMBOLS] + [[CASH, "0.01"]]
        AccountStanding.objects.bulk_create(
            AccountStanding(
                account_id=pk,
                as_of=self.now,
                total_value_usd=100_000 + place,
                cash_usd=1000,
                planned_run_id=newest[pk],
                largest_drift_percent=Decimal(place % 700) / 100,
                state="outside" if place % 3 == 0 else "inside",
                weights=weights,
            )
            for place, pk in enumerate(self.pks)
        )
        spread(
            AccountValue,
            "generate_series(1, %(days)s) day, accounts_account a WHERE a.account_id LIKE 'SEED-%%' ORDER BY day, a.id",
            {"days": HISTORY_DAYS},
            account_id="a.id",
            at="now() - interval '1 day' * (%(days)s - day)",
            total_value_usd="100000 + 40 * day + a.id",
            cash_usd="1000",
        )
        days = [self.now - timedelta(days=number) for number in range(HISTORY_DAYS, 0, -1)]
        TotalValue.objects.bulk_create(
            TotalValue(
                day=day.date(),
                total_value_usd=100_000_000 + 40_000 * number,
                cash_usd=1_000_000,
                accounts=self.accounts,
            )
            for number, day in enumerate(days)
        )

    def _other_rows(self):
        """Create the other rows of two years."""
        from trading.models import (
            AuditEntry,
            Delivery,
            Notification,
            ProcessHeartbeat,
            ScheduledJob,
            ScheduleEntry,
            SeenExecution,
        )

        run_ids = self._runs().order_by("pk").values_list("pk", flat=True)[:OTHER_ROWS]
        Notification.objects.bulk_create(
            Notification(kind="success", title=f"Rebalance completed: {pk}", body="All filled.", run_id=pk)
            for pk in run_ids
        )
        Delivery.objects.bulk_create(
            Delivery(notification_id=pk, channel="NOTIFICATION_URLS 1", state="sent")
            for pk in Notification.objects.order_by("pk").values_list("pk", flat=True)
        )
        AuditEntry.objects.bulk_create(
            AuditEntry(person="bench", action="approved", subject=f"Preview {pk}") for pk in run_ids
        )
        opens = [self.now - timedelta(days=30 * number) for number in range(-1, OTHER_ROWS // self.accounts)]
        ScheduleEntry.objects.bulk_create(
            ScheduleEntry(
                key=f"open:{pk}:{at.date()}",
                account_id=pk,
                session_date=at.date(),
                due_at=at,
                origin="cadence",
                state="completed" if at <= self.now else "waiting",
            )
            for at in opens
            for pk in self.pks
        )
        ScheduledJob.objects.bulk_create(
            ScheduledJob(key=f"cadence:{n}", kind="cadence", session_date=self.now.date(), due_at=self.now)
            for n in range(500)
        )
        spread(
            SeenExecution,
            "trading_fill f JOIN trading_order o ON o.id = f.order_id",
            {},
            account_id="o.account_id",
            execution_id="'seen-' || f.id",
            symbol="o.symbol",
            quantity="f.quantity",
            price_usd="f.price_usd",
            executed_at="f.executed_at",
            session_date="f.executed_at::date",
            client_order_id="o.client_order_id",
            seen_at="f.executed_at",
        )
        ProcessHeartbeat.objects.create(name="worker:bench:1", kind="worker", at=self.now)


def spread(model, source, parameters, /, accounts=0, **columns):
    """Insert rows within the database; columns that are not named are copied from the row `t` of the source."""
    from django.db import connection

    names = [field.column for field in model._meta.concrete_fields if not field.primary_key]
    if " t " not in f"{source} ":
        assert set(names) == set(columns), set(names) ^ set(columns)
    taken = ", ".join(columns.get(name, f"t.{name}") for name in names)
    statement = f"INSERT INTO {model._meta.db_table} ({', '.join(names)}) SELECT {taken} FROM {source}"
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters | {"accounts": accounts})
