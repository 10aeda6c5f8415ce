"""Time and count limits of the connector."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits that do not depend on the installation. Tests use shorter times.

    Attributes:
        connect_retry_seconds: Wait before the first retry with a client id that is in use; doubled for each retry.
        close_seconds: Maximum wait until the socket is closed.
        values_lag_seconds: Time after a fill of an earlier connection during which account values are not used.
        values_renewed_seconds: Time after a fill from which account values are current. The broker renews them every
            three minutes.
        max_values_wait_seconds: Maximum wait for current account values. After it the values are used as they are, and
            the checks of the plan decide.
        values_retry_seconds: Wait before account values are requested again.
        max_commission_wait_seconds: Maximum wait for commissions, which arrive after the executions.
        max_market_data_lines: Quotes that one client streams at once. A login has 100 market data lines for all its
            clients.
        line_retry_seconds: Interval at which a quote without a market data line looks for the quote of another client,
            or for a line that another client has released.
        max_lines_per_retry: Lines requested again in one interval. Orders share the connection and its message rate.
        max_line_wait_seconds: Maximum wait for a market data line. After it the symbol has no quote.
        quote_reuse_seconds: Age up to which a quote is used again. After it the line is released for other clients.
        max_lines_per_release: Lines released at once, because of the message rate.
        release_interval_seconds: Wait before more lines are released.
    """

    connect_retry_seconds: float = 0.5
    close_seconds: float = 2.0
    values_lag_seconds: float = 5.0
    values_renewed_seconds: float = 200.0
    max_values_wait_seconds: float = 20.0
    values_retry_seconds: float = 1.0
    max_commission_wait_seconds: float = 1.0
    max_market_data_lines: int = 80
    line_retry_seconds: float = 0.1
    max_lines_per_retry: int = 2
    max_line_wait_seconds: float = 10.0
    quote_reuse_seconds: float = 2.0
    max_lines_per_release: int = 20
    release_interval_seconds: float = 1.0
