"""Waits and age limits of the engine. Waits that an operator chooses are fields of the policy instead."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Timings:
    """Waits and age limits of the engine, in seconds."""

    claim_window_seconds: float = 60.0
    """Time in which a worker claims runs. Later ones wait for the next wake-up, so that its task ends in time."""
    claim_interval_seconds: float = 1.0
    """Interval between two claims while runs are in progress."""
    reconnect_delay_seconds: float = 1.0
    """Wait before the first reconnection. It doubles with each attempt."""
    broker_wait_seconds: float = 300.0
    """Maximum wait for the broker of a run that has sent orders or whose client id is in use."""
    quotes_seconds: float = 3.0
    """Maximum wait for quotes. Missing ones are left out: one silent symbol must not delay an event."""
    shared_quotes_seconds: float = 5.0
    """Maximum age of the quotes that the accounts of an event share."""
    account_age_seconds: float = 2.0
    """Maximum age of an account snapshot when the plan is made: cash may have been added or withdrawn."""
    recheck_age_seconds: float = 1.0
    """Maximum age of the account check before the first order."""
    order_silence_seconds: float = 10.0
    """Time without an update after which an order is looked up: brokers can lose a status update."""
    cancel_seconds: float = 30.0
    """Maximum wait for a cancel confirmation."""
    cancel_watch_seconds: float = 0.3
    """Interval at which a slot with open orders looks for requests to cancel them."""
    cash_seconds: float = 5.0
    """Maximum wait until the broker's cash includes the proceeds of the sells."""
    fills_seconds: float = 5.0
    """Maximum wait for executions and commissions that arrive after an order's final status."""
    positions_seconds: float = 10.0
    """Maximum wait until the broker's positions include the fills."""


DEFAULT_TIMINGS = Timings()
