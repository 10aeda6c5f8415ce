"""The error tree of the broker layer.

BrokerError                          has a `code` and a sentence that says what to do
├── BrokerConnectionError            there is no usable link to the broker
│   ├── BrokerUnreachable            nothing answers at the address
│   ├── BrokerSilent                 the link is open, but the broker does not answer
│   ├── ClientIdInUse                another process holds this slot's client id
│   ├── AccountNotManaged            this login does not manage the account
│   └── WrongEnvironment             a live account behind a paper link, or the reverse
├── BrokerAPIError                   the broker answered, and the answer cannot be used
│   ├── IncompleteAccountData        a value or a position is missing: never trade on it
│   ├── MarketDataUnavailable        no quote, or one that may not be traded on
│   ├── CapabilityMissing            the connector cannot do what was asked; it is never dropped silently
│   └── UnknownBroker                no connector of that name is registered
└── OrderExecutionError              about one order
    ├── OrderRejected                the broker said no: this is proof, the order does not exist
    └── OrderOutcomeUnknown          nobody knows: never send it again, reconcile it
"""


class BrokerError(Exception):
    """Root of everything that a connector raises.

    Attributes:
        code: stable word for programs and documents.
        message: sentence for people.
    """

    code = "broker_error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


class BrokerConnectionError(BrokerError):
    """There is no usable link to the broker."""

    code = "broker_connection"


class BrokerUnreachable(BrokerConnectionError):  # noqa: N818 - the words of the tree above
    """Nothing answers at the broker's address."""

    code = "broker_unreachable"


class BrokerSilent(BrokerConnectionError):  # noqa: N818
    """The link is open, but an answer did not come within its deadline."""

    code = "broker_silent"


class ClientIdInUse(BrokerConnectionError):  # noqa: N818
    """Another process is connected with this slot's client id."""

    code = "client_id_in_use"


class AccountNotManaged(BrokerConnectionError):  # noqa: N818
    """This login does not manage the account."""

    code = "account_not_managed"


class WrongEnvironment(BrokerConnectionError):  # noqa: N818
    """A live account behind a paper link, or the reverse."""

    code = "wrong_environment"


class BrokerAPIError(BrokerError):
    """The broker answered, and the answer cannot be used."""

    code = "broker_api"


class IncompleteAccountData(BrokerAPIError):  # noqa: N818
    """A value or a position is missing from the account's data."""

    code = "incomplete_account_data"


class MarketDataUnavailable(BrokerAPIError):  # noqa: N818
    """No quote, or none that may be traded on."""

    code = "market_data_unavailable"


class CapabilityMissing(BrokerAPIError):  # noqa: N818
    """The connector cannot do what was asked of it."""

    code = "capability_missing"


class UnknownBroker(BrokerAPIError):  # noqa: N818
    """No connector of that name is registered."""

    code = "unknown_broker"


class OrderExecutionError(BrokerError):
    """Something about one order."""

    code = "order_execution"


class OrderRejected(OrderExecutionError):  # noqa: N818
    """The broker refused the order: it does not exist, and nothing of it was filled."""

    code = "order_rejected"


class OrderOutcomeUnknown(OrderExecutionError):  # noqa: N818
    """The order may or may not exist at the broker."""

    code = "order_outcome_unknown"
