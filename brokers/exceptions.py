"""The exceptions of the broker layer. Each has a `code`; its docstring is the meaning of the code in docs/errors.md.

BrokerError                          has a `code` and a message that states what to do
├── BrokerConnectionError            there is no usable connection to the broker
│   ├── BrokerUnreachable            nothing answers at the address
│   ├── BrokerSilent                 the connection is open, but the broker does not answer
│   ├── ClientIdInUse                another process uses this slot's client id
│   ├── AccountNotManaged            this login does not manage the account
│   └── WrongEnvironment             the account is live and the connection paper, or the reverse
├── BrokerAPIError                   the broker answered, and the answer cannot be used
│   ├── ExecutionTimesUnusable       when a trade happened is not known: the trade guard cannot count it
│   ├── IncompleteAccountData        a value or a position is missing: never trade on it
│   ├── MarketDataUnavailable        there is no quote, or none that can be traded on
│   ├── ExecutionsUnavailable        the broker does not send today's executions
│   ├── CapabilityMissing            the connector does not support the request; nothing is dropped silently
│   │   └── ReadOnlyApi              the broker's API accepts no orders, by a setting at the broker
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

    def __init_subclass__(cls, *, code: str = "") -> None:
        super().__init_subclass__()
        cls.code = code or cls.code

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BrokerConnectionError(BrokerError, code="broker_connection"):
    """There is no usable connection to the broker."""


class BrokerUnreachable(BrokerConnectionError, code="broker_unreachable"):  # noqa: N818 - named as in the tree above
    """Nothing answers at the broker's address. Check that the gateway or service is running."""


class BrokerSilent(BrokerConnectionError, code="broker_silent"):  # noqa: N818
    """The connection is open, but the broker did not answer in time."""


class ClientIdInUse(BrokerConnectionError, code="client_id_in_use"):  # noqa: N818
    """Another process is connected with this slot's client id. Stop it, or assign another client id to the slot."""


class AccountNotManaged(BrokerConnectionError, code="account_not_managed"):  # noqa: N818
    """This login does not manage the account."""


class WrongEnvironment(BrokerConnectionError, code="wrong_environment"):  # noqa: N818
    """The account is live and the connection paper, or the reverse."""


class BrokerAPIError(BrokerError, code="broker_api"):
    """The broker answered, and the answer cannot be used."""


class IncompleteAccountData(BrokerAPIError, code="incomplete_account_data"):  # noqa: N818
    """A value or a position is missing from the account data. Nothing is traded."""


class ExecutionTimesUnusable(BrokerAPIError, code="execution_times_unusable"):  # noqa: N818
    """The time of an execution cannot be read, or lies in the future. The trade guard cannot count it."""


class ExecutionsUnavailable(BrokerAPIError, code="executions_unavailable"):  # noqa: N818
    """The broker does not send today's executions. What depends on them is refused; previews do without them."""


class MarketDataUnavailable(BrokerAPIError, code="market_data_unavailable"):  # noqa: N818
    """There is no quote, or none that can be traded on."""


class CapabilityMissing(BrokerAPIError, code="capability_missing"):  # noqa: N818
    """The connector does not support the request."""


class ReadOnlyApi(CapabilityMissing, code="read_only_api"):
    """The broker's API is read-only: it shows no orders and accepts none. Turn on write access in its settings."""


class UnknownBroker(BrokerAPIError, code="unknown_broker"):  # noqa: N818
    """No connector of that name is registered."""


class OrderExecutionError(BrokerError, code="order_execution"):
    """An error that concerns one order."""


class OrderRejected(OrderExecutionError, code="order_rejected"):  # noqa: N818
    """The broker rejected the order: it does not exist, and no part of it was filled."""


class OrderOutcomeUnknown(OrderExecutionError, code="order_outcome_unknown"):  # noqa: N818
    """The order may or may not exist at the broker. It is not sent again; it is reconciled."""
