"""Time and count limits of the connector, which do not depend on the installation."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits of one connection. Tests use shorter times."""

    connect_retry_seconds: float = 0.5  # first wait for a client id that is in use; doubled for each retry
    close_seconds: float = 2.0  # maximum wait until the socket is closed

    # An order that an error of unknown meaning was about is looked up after this wait for its status.
    refusal_wait_seconds: float = 1.5
    max_order_ids: int = 5  # order ids that are tried for an order if the gateway has used them before

    # The account values lag behind fills of an earlier connection until the broker renews them, every three minutes.
    values_lag_seconds: float = 5.0  # values are not used for this time after the fill
    values_renewed_seconds: float = 200.0  # values are current from this time after the fill
    # After this wait the values are used; a plan from stale values is refused (`account_data_mismatch`).
    max_values_wait_seconds: float = 20.0
    values_retry_seconds: float = 1.0
    max_commission_wait_seconds: float = 1.0  # commissions arrive after the executions

    # While the broker's security definitions are away, it finds no contract of any symbol.
    max_definitions_wait_seconds: float = 10.0
    definitions_retry_seconds: float = 1.0

    # A login has 100 market data lines for all its clients. Requests share the message rate with orders.
    max_market_data_lines: int = 80  # quotes that one client streams at once
    line_retry_seconds: float = 0.1  # interval between checks for a free line, or for the quote of another client
    max_lines_per_retry: int = 2
    max_line_wait_seconds: float = 10.0  # then the symbol has no quote
    quote_reuse_seconds: float = 2.0  # age up to which a quote is used again; then its line is released
    max_lines_per_release: int = 20
    release_interval_seconds: float = 1.0
