"""Database tables of trading. Only `trading.journal` writes runs, orders, fills and leases."""

# mypy: implicit-reexport
# ruff: noqa: F401 - imported for others; a list of the names would repeat the imports

from trading.models.access import ApiScope, ApiToken, AuditEntry
from trading.models.account_values import AccountRefresh, AccountStanding, AccountValue, StandingState, TotalValue
from trading.models.channel_offsets import ChannelPosition
from trading.models.contracts import CachedContract, ContractChoice, contract_choices
from trading.models.events import EventSource, EventState, StrategyEvent
from trading.models.fetched_targets import PublishedTargets
from trading.models.heartbeats import ProcessHeartbeat
from trading.models.installation import Installation, UnrecordedOrder
from trading.models.kill_switch import TradingControl
from trading.models.notifications import Delivery, DeliveryState, Notification, NotificationKind
from trading.models.orders import Fill, Order, OrderState
from trading.models.prices import CachedPrice
from trading.models.runs import (
    RebalanceRun,
    RunMode,
    RunOutcome,
    RunState,
    RunStep,
    TimelineEntry,
    new_run_id,
    without_documents,
)
from trading.models.schedule import ScheduledJob, ScheduleEntry, ScheduleOrigin, ScheduleState
from trading.models.sessions import UserSession
from trading.models.trade_guard import ExecutedSession, SeenExecution
from trading.models.two_factor import Authenticator, BackupCode
from trading.models.webhooks import Webhook
