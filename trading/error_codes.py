"""The error codes of trading, with their meaning, and the table of all guards.

Each code is declared here once. `make docs` writes docs/errors.md from these tables. The codes of the broker layer are
declared in `brokers.exceptions`, those of the calculator in `calculator.reason_codes`.
"""

from dataclasses import dataclass
from enum import Enum, auto


class Stage(Enum):
    """When a guard can be checked at the earliest."""

    DATABASE = auto()
    """From the database alone. Checked before connecting, before the plan and before the first order."""
    CONNECTED = auto()
    """After reconciliation with the broker, which can change the result."""
    PLAN = auto()
    """When there is a plan."""


class OnFail(Enum):
    """What happens to a run whose guard fails, before any order is sent."""

    REFUSE = "The run is refused."
    DEFER = "The run is deferred and planned again later."
    DEFER_UNATTENDED = "The run is deferred; refused if requested on a page or by command."
    STOP = "The run is stopped. A new run can finish what is left."
    HOLD = "The plan waits for approval until the session's close."


@dataclass(frozen=True)
class Guard:
    """A condition that must hold before a run sends orders.

    The code, the title (for notifications) and the meaning describe its failure. A deferral needs `not_before` in the
    guard's result.
    """

    code: str
    title: str
    meaning: str
    stage: Stage = Stage.DATABASE
    on_fail: OnFail = OnFail.REFUSE


_GUARDS = (
    Guard("account_disabled", "account disabled", "The account is disabled. Enable it in the admin."),
    Guard("no_strategy", "no strategy", "The account follows no strategy, or a disabled one. Assign an enabled one."),
    Guard(
        "strategy_changed",
        "strategy changed",
        "The account follows another strategy than when the run was requested. Request a new run.",
    ),
    Guard("trading_paused", "trading paused", "The kill switch is on, for all accounts or for this one."),
    Guard(
        "run_stopped",
        "stopped by a user",
        "A user stopped the run, or cancelled its working orders. Start a new run to finish the rebalance.",
        on_fail=OnFail.STOP,
    ),
    Guard(
        "wrong_environment",
        "wrong environment",
        "The account's type (paper or live) differs from `TRADING_MODE`. It can be previewed, not executed.",
    ),
    Guard("live_not_allowed", "live trading off", "Live trading is off. Set `ALLOW_LIVE_TRADING=true` to allow it."),
    Guard("live_not_armed", "account not armed", "The live account is not armed. Arm it in the admin."),
    Guard(
        "requester_rights",
        "rights of the requester",
        "The user who requested the run was deleted, is inactive, lacks the permission, or was not verified with a "
        "two-factor code (2FA) that the account requires. It is checked again before every order.",
    ),
    Guard(
        "orders_unknown",
        "unresolved orders",
        "The status of an order is unknown; it may be open at the broker. Resolve it on the run page.",
        stage=Stage.CONNECTED,
    ),
    Guard(
        "unrecorded_orders",
        "orders without a record",
        "The broker has orders of this account that are not in this database: another installation has sent them, or "
        "this one before it was restored. Run `manage.py reconcile`, or acknowledge each with `manage.py resolve`.",
        stage=Stage.CONNECTED,
    ),
    Guard(
        "database_restored",
        "database restored",
        "The database was restored from a backup, and not every enabled account has been reconciled since. Run "
        "`manage.py reconcile`.",
    ),
    Guard(
        "schedule_late",
        "start missed",
        "The run was scheduled for more than 15 minutes ago. The policy decides whether it is scheduled again.",
    ),
    Guard("market_closed", "market closed", "The exchange is closed.", on_fail=OnFail.DEFER_UNATTENDED),
    Guard(
        "too_close_to_close",
        "close to market close",
        "The session closes within the number of minutes set in the policy.",
        on_fail=OnFail.DEFER_UNATTENDED,
    ),
    Guard(
        "trade_guard",
        "trade guard",
        "The account's trade guard, for example PDT protection, does not allow a rebalance in this session.",
        on_fail=OnFail.DEFER,
    ),
    Guard(
        "trade_guard_plan",
        "trade guard",
        "The account's trade guard, for example PDT protection, does not allow the plan's sells in this session.",
        stage=Stage.PLAN,
        on_fail=OnFail.DEFER,
    ),
    Guard(
        "sell_not_feasible",
        "sell not feasible",
        "The broker would reject a sell of the plan. The message contains the broker's reason.",
        stage=Stage.PLAN,
    ),
    Guard(
        "buy_not_feasible",
        "buy not feasible",
        "The broker would reject a buy of the plan. The message contains the broker's reason.",
        stage=Stage.PLAN,
    ),
    Guard(
        "turnover_limit",
        "turnover limit",
        "The plan trades more of the account than the policy allows. Approve or decline it until the session's close; "
        "after that, make a new preview. The message states why the strategy's auto-approval, if set, did not apply.",
        stage=Stage.PLAN,
        on_fail=OnFail.HOLD,
    ),
    Guard(
        "targets_old",
        "old targets",
        "The targets were edited or published longer ago than *max targets age days* of the policy. Approve the plan, "
        "or review the targets: saving one makes them current.",
        stage=Stage.PLAN,
        on_fail=OnFail.HOLD,
    ),
)
GUARDS = {guard.code: guard for guard in _GUARDS}
"""All guards by code. The function that checks a guard is in `trading.guards`."""


def needs_approval(code: str) -> bool:
    """Return whether the code is that of a guard that a user can overrule by approving the plan."""
    return code in GUARDS and GUARDS[code].on_fail is OnFail.HOLD


EVENT_REJECTIONS = {
    "payload_not_json": "The message is not a JSON object, or text that contains one.",
    "payload_undecodable": "The message's encoding is unknown, or the content does not match it.",
    "payload_invalid": "The message lacks `exec`, a field has the wrong type, or a key other than `account_id` reads "
    "like an account.",
    "payload_too_large": "The message is larger than 64 KiB.",
    "unknown_exec": "`exec` is neither `rebalance` nor `print-rebalance`.",
    "unknown_strategy": "No strategy has this name.",
    "strategy_disabled": "The strategy is disabled. Enable it in the admin.",
    "unknown_account": "No account has this id.",
    "account_of_other_strategy": "The account follows another strategy.",
    "no_accounts": "No account follows the strategy.",
    "conflicting_duplicate": "Another message with the same id and different content was received before.",
    "published_ahead": "The publication time is ahead of the database's clock. The event is ordered by its receipt.",
    "late_event": "The event is older than its strategy allows, and the strategy's policy is to skip late events.",
}

ALLOCATIONS = {
    "allocations_not_configured": "`ALLOCATIONS_BASE_URL` is not set, or is not an allowed address.",
    "allocations_unreachable": "The allocations service cannot be reached.",
    "allocations_timeout": "The allocations service did not answer in time.",
    "allocations_http_error": "The allocations service answered with an error.",
    "allocations_redirected": "The allocations service answered with a redirect. Redirects are not followed.",
    "allocations_too_large": "The answer of the allocations service exceeds the size limit.",
    "allocations_not_json": "The answer of the allocations service is not JSON, or its compression is invalid.",
    "allocations_wrong_shape": "The answer of the allocations service has an unexpected structure.",
    "allocations_wrong_strategy": "The allocations service answered for another strategy.",
    "allocations_empty": "The allocations are empty. Nothing is sold for an empty list.",
    "allocations_negative": "An allocation is negative.",
    "allocations_above_one": "The sum of the allocations exceeds 1 by more than rounding (0.0005).",
    "allocations_cash_name": "A target is named like cash (CASH, USD, $…), which is also the symbol of a stock. "
    "Remove it if cash is meant; else enter it in the strategy's *stocks named like cash*.",
    "allocations_duplicate": "A symbol occurs twice in the allocations.",
}

RUN_ERRORS = {
    "account_changed": "The account changed after the plan was made. The run plans again automatically.",
    "lease_lost": "Another process has claimed the slot and continues the run.",
    "illegal_transition": "The row was not in a state that allows the change. Another process has changed it.",
    "unknown_symbol": "The broker cannot trade a symbol of the targets.",
    "preview_expired": "The preview is older than its policy allows. Make a new preview.",
    "preview_superseded": "A newer preview or run has replaced the preview.",
    "preview_moved": "Targets, positions or quotes have changed since the preview. Make a new preview.",
    "plan_differs": "An order or the turnover of the approved plan would differ at current prices by more than the "
    "approval allows. The message has the differences. Make a new preview.",
    "approval_expired": "Nobody approved the plan before the session's close. Make a new preview.",
    "plan_declined": "A user declined the plan. Make a new preview.",
    "not_waiting": "The plan does not wait for approval. There is nothing to approve or decline.",
    "note_too_long": "The note is longer than 500 characters. Shorten it.",
    "approval_outdated": "Settings of the account have changed since the plan was made. Make a new preview.",
    "preview_blocked": "A guard of the preview failed.",
    "plan_hash_mismatch": "The approved plan is not the stored plan. Make a new preview.",
    "already_executed": "The preview was executed before.",
    "nothing_to_trade": "The plan has no orders.",
    "not_permitted": "The user does not have the permission. Contact an administrator.",
    "code_needed": "The user has set up two-factor authentication but logged in without a code. Log in again.",
    "code_device_needed": "Orders require two-factor authentication (2FA) here. Set it up first.",
    "confirmation_missing": "The action concerns a live account. Type the account number to confirm.",
    "code_missing": "The action concerns a live account. Enter a current two-factor code (2FA).",
    "fresh_code_needed": "The change disarms a protection. Enter a two-factor code (2FA), then repeat the change.",
    "other_user_needed": "The user turned the kill switch on, and `RESUME_BY_ANOTHER_USER` is set. Ask another user.",
    "no_channel": "No notification channel is configured. Set `NOTIFICATION_URLS`.",
    "test_not_delivered": "A notification channel did not accept the test message. See the log.",
    "all_orders_rejected": "The broker rejected every order.",
    "open_orders_remain": "Open orders could not be cancelled before the run, for example those of another program.",
    "positions_disagree": "The change of the positions at the broker does not match the fills. Check the account.",
    "positions_late": "The positions at the broker do not include all fills of the run yet. The fills are recorded.",
    "lost_order_found": "The broker has an order that was marked as lost and sent again. Check the positions.",
    "recorded_from_broker": "The run's orders were recorded from the broker's records; this database had none.",
    "order_already_resolved": "The order's outcome is known. There is nothing to resolve.",
    "run_not_finished": "The run has not ended. Its worker resolves its orders.",
    "run_already_closed": "The run does not need attention, or no longer.",
    "orders_not_resolved": "The run cannot be closed while its orders may be open. Resolve them first.",
    "connection_busy": "Another process uses the account's slot. Try again in a moment.",
    "comment_missing": "A manual resolution requires a comment that states the evidence.",
    "inconsistent_resolution": "The entered outcome contradicts the order's records. The message names the conflict.",
    "resolved_manually": "A user resolved the run's orders, or checked the problem, and closed the run.",
    "too_many_attempts": "The run was started several times without progress.",
    "internal_error": "Unexpected error; see the log. An event with this code is processed again.",
    "superseded": "A run of a newer event of the account has replaced the run. Nothing was sent.",
    "run_ended": "The run has ended. There is nothing to stop.",
}

WARNINGS = {
    "exchange_closed": "The symbol's exchange is closed today according to the broker. The symbol is not traded.",
    "quote_stale": "The quote is too old. The symbol is not traded.",
    "quote_crossed": "Bid and ask are crossed, or one is missing. The symbol is not traded.",
    "quote_delayed": "The quote is delayed. The symbol is not traded.",
    "quote_spread": "The spread is wider than the policy allows. The symbol is not traded.",
    "quote_missing": "There is no quote. The symbol is not traded.",
    "quote_synthetic": "The ask was derived from the bid or the last price, as the policy allows.",
    "symbol_halted": "Trading in the symbol is halted. The symbol is not traded.",
    "other_contract_held": "A position is another contract of its symbol, such as another listing. It is counted only.",
    "currency_debt": "The account owes an amount in another currency. The debt is counted, and not repaid.",
    "cash_differs": "The broker reports the cash in several rows that disagree. The smallest is used.",
    "open_orders_cancelled": "Open orders of the account are cancelled before the first sell.",
    "open_orders_elsewhere": "Only the program that placed an open order can cancel it. An execution would be refused.",
    "open_orders_unavailable": "The broker does not show open orders. An execution would be refused.",
    "order_not_filled": "An order was not filled completely before its deadline.",
    "order_not_sent": "A planned order was not sent, because the run was stopped. The message has the reason.",
    "targets_scaled": "The weights of the targets exceeded 1 by rounding and were scaled to a sum of 1.",
    "targets_time_unreadable": "The time of the published targets cannot be read, so that their age is not checked.",
    "buys_reduced": "Buys were reduced to the available cash.",
}

STANDINGS = {
    "never_compared": "The account has not been compared with its targets yet. It is after the next close.",
    "targets_not_fetched": "The targets of the strategy were never fetched. Fetch them on the strategy page.",
    "position_without_price": "The broker reports no price for a position, so that no weight can be calculated.",
    "drift_inside_band": "All drifts, that of cash included, are inside the band.",
    "position_to_sell": "All drifts are inside the band. A position that is not a target will be sold.",
    "no_trade_helps": "A drift is outside the band, and no trade of whole shares brings the account closer.",
    "drift_outside_band": "The drift of a symbol or of cash is at least the band.",
    "combined_drift": "Each drift is inside the band; together they would hide a deposit or a withdrawal.",
    "cash_negative": "The account owes cash.",
    "other_strategy": "The account follows another strategy than at the last comparison.",
    "other_environment": "The broker, the environment or the number of the account has changed since it was read.",
    "targets_changed": "The targets of the strategy have changed since the last comparison.",
    "rules_changed": "The replacement set or one of its rules has changed since the last comparison.",
    "settings_changed": "The policy or the cash reserve has changed since the last comparison.",
}
"""Reasons for the standing of an account. While it is unknown, the reason can also be one of the codes of a plan."""

API_REFUSALS = {
    "token_invalid": "The request has no token, or one that is unknown, expired or revoked.",
    "scope_missing": "The token lacks the scope that the request needs.",
    "approver_is_requester": "The plan waits for approval, and the owner of the token requested it. Ask another user.",
    "rate_limited": "Too many requests with this token within a minute, or too many with a wrong one. Try again later.",
    "request_invalid": "A part of the request is invalid. The message names it.",
    "unknown_run": "No run has this id.",
    "unknown_event": "No event has this number.",
    "method_not_allowed": "The address does not support this method.",
    "not_found": "The API has no such address.",
}
