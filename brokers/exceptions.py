"""The error tree of the broker layer.

BrokerError                          has a `code` and a message that states what to do
├── BrokerConnectionError            there is no usable connection to the broker
│   ├── BrokerUnreachable            nothing responds at the address
│   ├── BrokerSilent                 the connection is open, but the broker does not respond
│   ├── ClientIdInUse                another process uses this slot's client id
│   ├── AccountNotManaged            this login does not manage the account
│   └── WrongEnvironment             a live account behind a paper connection, or the reverse
├── BrokerAPIError                   the broker responded, and the response cannot be used
│   ├── IncompleteAccountData        a value or a position is missing: do not trade
│   ├── MarketDataUnavailable        no quote, or none that can be traded on
│   ├── CapabilityMissing            the connector does not support the request; it is never ignored
│   └── UnknownBroker                no connector of that name is registered
└── OrderExecutionError              about one order
    ├── OrderRejected                the broker rejected the order: this is proof that it does not exist
    └── OrderOutcomeUnknown          the order may exist: never submit it again, reconcile it
"""


class BrokerError(Exception):
    """Base class of all errors that a connector raises.

    Attributes:
        code: stable identifier, documented in docs/errors.md.
        message: message for users.
    """

    code = "broker_error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


class BrokerConnectionError(BrokerError):
    """There is no usable connection to the broker."""

    code = "broker_connection"


class BrokerUnreachable(BrokerConnectionError):  # noqa: N818 - named as in the tree above
    """Nothing responds at the broker's address."""

    code = "broker_unreachable"


class BrokerSilent(BrokerConnectionError):  # noqa: N818
    """The connection is open, but the broker did not respond within the deadline."""

    code = "broker_silent"


class ClientIdInUse(BrokerConnectionError):  # noqa: N818
    """Another process is connected with this slot's client id."""

    code = "client_id_in_use"


class AccountNotManaged(BrokerConnectionError):  # noqa: N818
    """This login does not manage the account."""

    code = "account_not_managed"


class WrongEnvironment(BrokerConnectionError):  # noqa: N818
    """A live account behind a paper connection, or the reverse."""

    code = "wrong_environment"


class BrokerAPIError(BrokerError):
    """The broker responded, and the response cannot be used."""

    code = "broker_api"


class IncompleteAccountData(BrokerAPIError):  # noqa: N818
    """A value or a position is missing from the account's data."""

    code = "incomplete_account_data"


class MarketDataUnavailable(BrokerAPIError):  # noqa: N818
    """There is no quote, or none that can be traded on."""

    code = "market_data_unavailable"


class CapabilityMissing(BrokerAPIError):  # noqa: N818
    """The connector does not support the request."""

    code = "capability_missing"


class UnknownBroker(BrokerAPIError):  # noqa: N818
    """No connector of that name is registered."""

    code = "unknown_broker"


class OrderExecutionError(BrokerError):
    """Base class of errors about one order."""

    code = "order_execution"


class OrderRejected(OrderExecutionError):  # noqa: N818
    """The broker rejected the order. It does not exist, and nothing was filled."""

    code = "order_rejected"


class OrderOutcomeUnknown(OrderExecutionError):  # noqa: N818
    """The order may or may not exist at the broker."""

    code = "order_outcome_unknown"
