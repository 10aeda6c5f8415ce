"""Every code that a run, a guard, an event or a warning of trading can carry, and what it means.

The broker layer's codes stand in `brokers.exceptions`, the calculator's in `calculator.reason_codes`.
"""

EVENT_REJECTIONS = {
    "payload_not_json": "The message is not a JSON object, nor text that holds one.",
    "payload_undecodable": "The message's encoding is unknown, or its content is not of that encoding.",
    "payload_invalid": "The message lacks `exec`, or a field has the wrong shape.",
    "unknown_exec": "`exec` is neither `rebalance` nor `print-rebalance`.",
    "unknown_strategy": "No strategy has this name.",
    "strategy_disabled": "The strategy is disabled.",
    "unknown_account": "No account has this id.",
    "account_of_other_strategy": "The account follows another strategy.",
    "no_accounts": "No account follows the strategy.",
    "conflicting_duplicate": "A message with the same id but another content is here already.",
    "late_event": "The event is older than its strategy allows, and the policy says to skip it.",
}

GUARDS = {
    "account_disabled": "The account is disabled.",
    "no_strategy": "The account follows no strategy, or a disabled one.",
    "trading_paused": "The kill switch is on, for all accounts or for this one.",
    "wrong_environment": "The account's type differs from TRADING_MODE.",
    "live_not_allowed": "Live trading needs ALLOW_LIVE_TRADING=true.",
    "live_not_armed": "The live account is not armed.",
    "schedule_late": "The run was scheduled for a time that is more than 15 minutes ago.",
    "market_closed": "The exchange has no session now.",
    "too_close_to_close": "The session ends within the minutes that the policy asks for.",
    "trade_guard": "The account's trade guard does not allow a rebalance, or this plan, in this session.",
    "trade_guard_plan": "The account's trade guard does not allow what the plan sells in this session.",
    "turnover_limit": "The plan would trade more of the account than the policy allows.",
    "targets_old": "The targets were edited, or by their service's word published, longer ago than the policy allows.",
    "buy_not_feasible": "The broker would not take a buy of the plan.",
    "sell_not_feasible": "The broker would not take a sell of the plan.",
    "unknown_symbol": "The broker cannot trade a symbol of the targets.",
    "incomplete_account_data": "The broker's account data is not complete.",
}

HELD = frozenset({"turnover_limit", "targets_old"})
"""Guards that a person can overrule, by approving the very plan."""

ALLOCATIONS = {
    "allocations_not_configured": "ALLOCATIONS_BASE_URL is not set, or not an address that may be used.",
    "allocations_unreachable": "The allocations service cannot be reached.",
    "allocations_timeout": "The allocations service did not answer in time.",
    "allocations_http_error": "The allocations service answered with an error.",
    "allocations_redirected": "The allocations service redirected, which is not followed.",
    "allocations_too_large": "The answer of the allocations service is larger than any allocation can be.",
    "allocations_not_json": "The answer of the allocations service is not JSON.",
    "allocations_wrong_shape": "The answer of the allocations service has the wrong shape.",
    "allocations_wrong_strategy": "The allocations service answered for another strategy.",
    "allocations_empty": "The allocations are empty.",
    "allocations_negative": "An allocation is negative.",
    "allocations_above_one": "The allocations add up to more than one.",
    "allocations_duplicate": "A symbol stands twice in the allocations.",
}

RUN_ERRORS = {
    "account_changed": "What the plan was made on has changed; the run plans again by itself.",
    "lease_lost": "Another process has taken over the connection slot; it carries the run on.",
    "illegal_transition": "A row was not in the state from which the move is allowed; somebody else has moved it.",
    "preview_expired": "The preview is older than its quotes may be.",
    "preview_superseded": "A newer preview, or a run, has taken its place.",
    "preview_moved": "Targets, positions or quotes have moved since the preview.",
    "preview_blocked": "The preview shows a guard that blocks.",
    "plan_digest_mismatch": "The plan that was approved is not the one that is stored.",
    "already_executed": "The preview was sent already.",
    "nothing_to_trade": "The plan has no orders.",
    "not_permitted": "The person has no right to do this.",
    "code_needed": "The person has a device for one-time codes, and has logged in without it.",
    "code_device_needed": "Orders need one-time codes here, and the person has no device for them.",
    "confirmation_missing": "What concerns a live account needs the account number, typed.",
    "code_missing": "What concerns a live account needs the one-time code of the person's device.",
    "no_channel": "No notification channel is configured.",
    "test_not_delivered": "A notification channel did not take the test message.",
    "all_orders_rejected": "The broker refused every order.",
    "orders_unknown": "The fate of an order is not known.",
    "orders_open": "An order could not be cancelled and may be alive at the broker.",
    "open_orders_remain": "Orders of somebody else could not be cancelled before the run.",
    "positions_disagree": "Positions at the broker do not differ by what was filled.",
    "order_already_resolved": "The order's fate is known: there is nothing for a person to settle.",
    "run_not_finished": "The run has not ended: its worker settles its orders.",
    "run_already_closed": "The run does not need attention (any more).",
    "orders_not_resolved": "The run cannot be closed while orders of it may be alive.",
    "connection_busy": "Another process works the account's connection slot; a moment later it is free.",
    "comment_missing": "What a person settles needs a comment that says how they know.",
    "inconsistent_resolution": "What a person says became of an order does not fit what is known of it.",
    "resolved_manually": "A person has settled the run's orders or looked at what was wrong, and closed the run.",
    "too_many_attempts": "The run was taken up several times without progress.",
    "client_id_in_use": "The slot's client id has been in use elsewhere for too long.",
    "internal_error": "Something went wrong that nobody foresaw; the log has the details.",
    "run_ended": "The run has ended already; there is nothing to stop.",
}

WARNINGS = {
    "exchange_closed": "By the broker's hours of the day the symbol's exchange is closed; the symbol is not traded.",
    "quote_stale": "The quote is too old; the symbol is not traded.",
    "quote_crossed": "Bid and ask are crossed, or one is missing; the symbol is not traded.",
    "quote_delayed": "The quote is delayed; the symbol is not traded.",
    "quote_spread": "The spread is wider than the policy allows; the symbol is not traded.",
    "quote_missing": "There is no quote; the symbol is not traded.",
    "quote_synthetic": "The ask was made from the bid or last price, as the policy says.",
    "targets_below_one": "The targets add up to less than one; the rest stays in cash.",
    "open_orders_cancelled": "Open orders of the account are cancelled before the first sell.",
    "order_rejected": "The broker refused an order.",
    "order_not_filled": "An order did not fill completely before its deadline.",
    "order_not_sent": "A planned order was not sent: a person stopped the run, or the session had closed.",
    "buys_reduced": "Buys were cut to the cash that was really there.",
    "cash_differs": "The broker's cash differs from the sum of the fills.",
    "late_event_preview": "The event was late: it is shown as a preview only.",
}

API_REFUSALS = {
    "token_invalid": "The request carries no token, or one that is unknown, expired or revoked.",
    "scope_missing": "The token is not for this.",
    "rate_limited": "The token was used too often within a minute, or too many were wrong.",
    "request_invalid": "A part of the request has the wrong shape; the message names it.",
    "unknown_run": "No run has this id.",
    "unknown_event": "No event has this number.",
    "method_not_allowed": "The address does not take this method.",
    "not_found": "There is nothing at this address of the API.",
}


def all_codes() -> dict[str, str]:
    """Every code of trading with its meaning."""
    return EVENT_REJECTIONS | GUARDS | ALLOCATIONS | RUN_ERRORS | WARNINGS | API_REFUSALS
