"""The one predicate "may an order of this account leave now".

Every entry point asks it when it queues an execution (`refusals_to_queue`), and the engine asks it right before every
single order (`check_order`). `check_guards` shows the same checks in a preview.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, time

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Subquery

from accounts.models import Account
from accounts.models.account import FOLLOWED_STRATEGY
from accounts.policies import needs_one_time_code
from brokers.exchange_calendar import Session
from trading.access.two_factor import is_verified
from trading.common.formats import new_york_time
from trading.error_codes import OnFail
from trading.errors import AccountChanged, Deferred, Refused
from trading.models import EventSource, RebalanceRun, RunMode, TradingControl
from trading.models.run_documents import GuardResult
from trading.planning.plan_basis import basis_of, describe_changes, read_account
from trading.planning.run_context import RunContext

EXECUTE_PERMISSION = "accounts.execute_account"
EXECUTE_LIVE_PERMISSION = "accounts.execute_live_account"
FIELDS = (
    "mode",
    "strategy_name",
    "stop_requested_at",
    "requested_by_id",
    "requester_name",
    "requester_verified",
    "account__account_id",
    "account__type",
    "account__enabled",
    "account__live_armed",
    "account__trading_paused",
    f"account__{FOLLOWED_STRATEGY}__name",
    f"account__{FOLLOWED_STRATEGY}__enabled",
)
"""Fields of a run, of its account and of the strategy that the checks read. Few, because each order reads them."""
PERMISSIONS_BACKEND = "django.contrib.auth.backends.ModelBackend"


def execute_permissions(account: Account) -> tuple[str, ...]:
    """Return the permissions that are needed to submit orders of the account."""
    is_live = account.type == Account.Type.LIVE
    return (EXECUTE_PERMISSION, EXECUTE_LIVE_PERMISSION) if is_live else (EXECUTE_PERMISSION,)


def may_execute(user: User, account: Account) -> bool:
    """Whether the user may submit orders of the account."""
    return user.has_perms(execute_permissions(account))


@dataclass(frozen=True)
class Requester:
    """The user who requested an execution. A user who was deleted since may do nothing."""

    name: str
    may_execute: bool
    is_verified: bool


@dataclass(frozen=True)
class TradeFacts:
    """What decides whether an account may trade, read from the database at each check.

    Attributes:
        account: the account, with the strategy that it follows.
        pause_reason: why trading is paused for all accounts, possibly an empty text; None while it is not paused.
        requester: None when no user requested it: an event, the calendar, or a command.
        run: the run that executes; None while none exists, and for a preview.
    """

    account: Account
    pause_reason: str | None
    requester: Requester | None = None
    run: RebalanceRun | None = None


TradeCheck = Callable[[TradeFacts], GuardResult]
_trade_checks: list[TradeCheck] = []


def trade_check(check: TradeCheck) -> TradeCheck:
    """Register the check."""
    _trade_checks.append(check)
    return check


def check_trade(facts: TradeFacts) -> list[GuardResult]:
    """Return one result per check, in order of refusal."""
    return [check(facts) for check in _trade_checks]


def _result(code: str, if_passed: str, if_failed: str, *, passed: bool) -> GuardResult:
    return GuardResult(code=code, passed=passed, message=if_passed if passed else if_failed)


# ---- the checks


def check_enabled(account: Account) -> GuardResult:
    """Check that the account is enabled."""
    return _result(
        "account_disabled",
        "The account is enabled.",
        f"Account {account.account_id} is disabled. Enable it in the admin.",
        passed=account.enabled,
    )


trade_check(lambda facts: check_enabled(facts.account))


@trade_check
def _follows_a_strategy(facts: TradeFacts) -> GuardResult:
    strategy = facts.account.followed_strategy
    return _result(
        "no_strategy",
        f"The account follows the strategy {strategy.name if strategy else ''}.",
        f"Account {facts.account.account_id} follows no enabled strategy. Assign one in the admin.",
        passed=strategy is not None and strategy.enabled,
    )


@trade_check
def _follows_the_strategy_of_the_run(facts: TradeFacts) -> GuardResult:
    strategy, run = facts.account.followed_strategy, facts.run
    requested = run.strategy_name if run is not None else ""
    current = strategy.name if strategy else "no strategy"
    return _result(
        "strategy_changed",
        "The strategy is the one of the request.",
        f"Account {facts.account.account_id} followed {requested} when the run was requested, and follows {current} "
        "now. Request a new run.",
        passed=not requested or requested == current,
    )


@trade_check
def _trading_not_paused(facts: TradeFacts) -> GuardResult:
    everywhere = facts.pause_reason is not None
    reason = f" ({facts.pause_reason})" if facts.pause_reason else ""
    return _result(
        "trading_paused",
        "Trading is not paused.",
        f"Trading is paused for {'all accounts' if everywhere else 'this account'}{reason}. Resume trading first.",
        passed=not everywhere and not facts.account.trading_paused,
    )


@trade_check
def _not_stopped(facts: TradeFacts) -> GuardResult:
    is_stopped = facts.run is not None and facts.run.stop_requested_at is not None
    return _result("run_stopped", "No user has stopped the run.", "A user stopped the run.", passed=not is_stopped)


def check_environment(account: Account) -> GuardResult:
    """Check that this installation trades accounts of this type (paper or live)."""
    mode = settings.TRADING_MODE
    return _result(
        "wrong_environment",
        f"The account's type is {account.type}, like TRADING_MODE.",
        f"Account {account.account_id} is a {account.type} account, and this installation trades {mode} accounts "
        f"(TRADING_MODE={mode}). It can be previewed, not executed.",
        passed=account.type == mode,
    )


trade_check(lambda facts: check_environment(facts.account))


@trade_check
def _live_trading_allowed(facts: TradeFacts) -> GuardResult:
    is_live = facts.account.type == Account.Type.LIVE
    return _result(
        "live_not_allowed",
        "Live trading is allowed." if is_live else "This is not a live account.",
        "Live trading is off. Set ALLOW_LIVE_TRADING=true in the environment to allow it.",
        passed=not is_live or settings.ALLOW_LIVE_TRADING,
    )


@trade_check
def _live_account_armed(facts: TradeFacts) -> GuardResult:
    is_live = facts.account.type == Account.Type.LIVE
    return _result(
        "live_not_armed",
        "The account is armed." if is_live else "A paper account does not need to be armed.",
        f"Account {facts.account.account_id} is not armed for live trading. Arm it in the admin.",
        passed=not is_live or facts.account.live_armed,
    )


@trade_check
def _requester_has_the_rights(facts: TradeFacts) -> GuardResult:
    requester = facts.requester
    if requester is None:
        return _result("requester_rights", "No user requested the run.", "", passed=True)
    problem = ""
    if not requester.may_execute:
        problem = "is not an active user with the permission to submit orders of this account"
    elif needs_one_time_code(facts.account) and not requester.is_verified:
        problem = "requested the run without the two-factor code (2FA) that this account requires"
    return _result(
        "requester_rights",
        f"{requester.name} may submit orders of this account.",
        f"{requester.name} {problem}. Another user can request the run.",
        passed=not problem,
    )


# ---- when an execution is queued


def refusals_to_queue(accounts: Sequence[Account], user: User | None) -> dict[int, GuardResult]:
    """Return the first failed check of each account (by primary key) whose execution cannot be queued now.

    Whether the exchange is open is left to the run, which can wait for it.
    """
    pause_reason = read_pause_reason()
    failed: dict[int, GuardResult] = {}
    for account in accounts:
        requester = None if user is None else Requester(str(user), may_execute(user, account), is_verified(user))
        results = check_trade(TradeFacts(account, pause_reason, requester))
        if refusal := next((result for result in results if not result.passed), None):
            failed[account.pk] = refusal
    return failed


def read_pause_reason() -> str | None:
    """Return why trading is paused for all accounts; None while it is not."""
    return TradingControl.objects.filter(trading_paused=True).values_list("reason", flat=True).first()


# ---- right before an order


def read_facts(run_pk: int) -> TradeFacts:
    """Read what decides about the orders of a run: by one query, and one for each permission of its requester."""
    paused = TradingControl.objects.filter(trading_paused=True)
    runs = RebalanceRun.objects.select_related("account", f"account__{FOLLOWED_STRATEGY}").only(*FIELDS)
    run = runs.annotate(pause_reason=Subquery(paused.values("reason")[:1])).get(pk=run_pk)
    if run.mode != RunMode.EXECUTE:
        return TradeFacts(run.account, run.pause_reason)
    requester = None
    if run.requester_name or run.requested_by_id is not None:  # a run that was queued by an earlier version has no name
        may = all(_has_permission(run.requested_by_id, name) for name in execute_permissions(run.account))
        requester = Requester(run.requester_name or "The user", may, run.requester_verified)
    return TradeFacts(run.account, run.pause_reason, requester, run)


def _has_permission(user_pk: int | None, permission: str) -> bool:
    """Return whether there is an active user with this key who has the permission."""
    users = User.objects.with_perm(permission, backend=PERMISSIONS_BACKEND)
    return user_pk is not None and users.filter(pk=user_pk).exists()


def check_order(context: RunContext, session: Session, now: datetime, *, has_sent: bool) -> None:
    """Check whether an order of the run may leave now.

    Args:
        context: the run, with the settings that its plan was made under.
        session: the exchange session of `now`.
        now: the time.
        has_sent: whether an order of the run was sent, so that its settings are frozen.

    Raises:
        Refused, Deferred: it may not, with the code and the sentence of the check that failed.
        AccountChanged: a setting has changed since the plan was made. Plan again.
    """
    facts = read_facts(context.pk)
    resume = context.policy.next_execution_time
    enforce([*check_trade(facts), check_session(session, now, resume)], context.source)
    if not has_sent and (changes := describe_changes(context.basis, basis_of(read_account(context.account_pk)))):
        if context.approved is not None:
            refuse_changed_approval(changes)
        raise AccountChanged(f"Settings of the account have changed since the plan: {'; '.join(changes)}.")


def refuse_changed_approval(changes: Sequence[str]) -> None:
    """Refuse a plan that was approved under other settings.

    Raises:
        Refused: `changes` is not empty; the message names them.
    """
    if changes:
        raise Refused(
            "approval_outdated",
            f"Settings have changed since the plan was approved: {'; '.join(changes)}. Nothing was sent. Make a new "
            "preview.",
        )


def check_session(session: Session, now: datetime, resume: time) -> GuardResult:
    """Check that the exchange is open. A deferred run resumes at the New York time `resume` of the next session."""
    opens = new_york_time(session.opens_at)
    if session.is_open_at(now):
        return GuardResult(code="market_closed", passed=True, message="The exchange is open.")
    message = f"The exchange is closed. The next session opens {opens}."
    return GuardResult(code="market_closed", passed=False, message=message, not_before=session.resume_at(resume))


def enforce(results: Sequence[GuardResult], source: str) -> None:
    """Refuse or defer the run at the first failed guard. Guards that hold the plan for approval are skipped.

    A closed exchange defers a run that no user waits for; a user gets an answer at once.

    Raises:
        Refused, Deferred: with the guard's code and message. No order was sent.
    """
    is_attended = source in {EventSource.ADMIN, EventSource.COMMAND}
    for result in results:
        on_fail = result.guard.on_fail
        if result.passed or on_fail is OnFail.HOLD:
            continue
        defers = on_fail is OnFail.DEFER or (on_fail is OnFail.DEFER_UNATTENDED and not is_attended)
        if defers and result.not_before is not None:
            raise Deferred(result.code, result.message, not_before=result.not_before)
        raise Refused(result.code, result.message)
