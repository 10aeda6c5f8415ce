"""The exceptions of the broker layer. Each has a `code`; its docstring is the meaning of the code in docs/errors.md.

BrokerError                          has a `code` and a message that states what to do
├── BrokerConnectionError            there is no usable connection to the broker
│   ├── BrokerUnreachable            nothing answers at the address
│   ├── BrokerSilent                 the connection is open, but the broker does not answer
│   ├── ClientIdInUse                another process uses this slot's client id
│   ├── AccountNotManaged            this login does not manage the account
│   └── WrongEnvironment             the account is live and the connection paper, or the reverse
├── BrokerAPIError                   the broker answered, and the answer cannot be used
│   ├── IncompleteAccountData        a value or a position is missing: never trade on it
│   ├── MarketDataUnavailable        there is no quote, or none that can be traded on
│   ├── CapabilityMissing            the connector does not support the request; nothing is dropped silently
│   └── UnknownBroker                no connector of that name is registered
└── OrderExecutionError              concerns one order
    ├── OrderRejected                the broker rejected the order: this is proof, the order does not exist
    └── OrderOutcomeUnknown          the order's status is unknown: never send it again, reconcile it
"""


class BrokerError(Exception):
    """The connector reported an error. See the message.

    Attributes:
        code: stable error code for programs and documents.
        message: sentence for users.
    """

    code = "broker_error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BrokerConnectionError(BrokerError):
    """There is no usable connection to the broker."""

    code = "broker_connection"


class BrokerUnreachable(BrokerConnectionError):  # noqa: N818 - named as in the tree above
    """Nothing answers at the broker's address. Check that the gateway or service is running."""

    code = "broker_unreachable"


class BrokerSilent(BrokerConnectionError):  # noqa: N818
    """The connection is open, but the broker did not answer in time."""

    code = "broker_silent"


class ClientIdInUse(BrokerConnectionError):  # noqa: N818
    """Another process is connected with this slot's client id. Stop it, or assign another client id to the slot."""

    code = "client_id_in_use"


class AccountNotManaged(BrokerConnectionError):  # noqa: N818
    """This login does not manage the account."""

    code = "account_not_managed"


class WrongEnvironment(BrokerConnectionError):  # noqa: N818
    """The account is live and the connection paper, or the reverse."""

    code = "wrong_environment"


class BrokerAPIError(BrokerError):
    """The broker answered, and the answer cannot be used."""

    code = "broker_api"


class IncompleteAccountData(BrokerAPIError):  # noqa: N818
    """A value or a position is missing from the account data. Nothing is traded."""

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
    """An error that concerns one order."""

    code = "order_execution"


class OrderRejected(OrderExecutionError):  # noqa: N818
    """The broker rejected the order: it does not exist, and no part of it was filled."""

    code = "order_rejected"


class OrderOutcomeUnknown(OrderExecutionError):  # noqa: N818
    """The order may or may not exist at the broker. It is not sent again; it is reconciled."""

    code = "order_outcome_unknown"
