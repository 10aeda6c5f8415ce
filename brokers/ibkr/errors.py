"""The error codes of Interactive Brokers: effect, description, and what to do.

Source: the message codes of the TWS API, and codes observed at a gateway. Everything that the connector does about a
code follows from its effect in this table. A code that is not listed proves nothing: lookups of the open and completed
orders decide whether its order exists, once empty answers of the gateway count.
"""

from dataclasses import dataclass
from enum import StrEnum


class Effect(StrEnum):
    """Effect of a code on the request or order that it is about."""

    NOTICE = "notice"  # nothing is wrong
    CONNECTION = "connection"  # the connection to the gateway, or from the gateway to the broker
    BROKER_LOST = "broker_lost"  # the gateway has lost the broker; nothing is confirmed
    BROKER_RESTORED = "broker_restored"
    QUOTES_LOST = "quotes_lost"  # as BROKER_RESTORED, but the quotes must be subscribed again
    REFUSES_CONNECTION = "refuses_connection"  # the gateway does not accept this connection
    REJECTS_ORDER = "rejects_order"  # proof that the order does not exist
    NOT_SENT = "not_sent"  # the order was not accepted under its order id, and is sent again under another
    WARNS_ORDER = "warns_order"  # the order stays open, although the client library treats some of these as final
    CANCELS_ORDER = "cancels_order"  # the remaining quantity is cancelled
    CANCEL_FAILED = "cancel_failed"  # the cancel request was not accepted; the order is unchanged
    ACCOUNT_DATA = "account_data"  # the account's values go to another client
    QUOTE = "quote"  # there is no quote, or none that is live
    REQUEST = "request"  # a request failed


_ABOUT_ORDERS = frozenset(
    {
        Effect.NOTICE,
        Effect.REJECTS_ORDER,
        Effect.NOT_SENT,
        Effect.WARNS_ORDER,
        Effect.CANCELS_ORDER,
        Effect.CANCEL_FAILED,
    }
)
"""Effects from which the status of an order follows."""


@dataclass(frozen=True)
class ErrorCode:
    """Effect and description of a code, and what an operator does about it."""

    effect: Effect
    description: str
    action: str


NO_ACTION = "Nothing."
UNTICK_READ_ONLY = "Turn off Read-Only API in the gateway, under Configure, Settings, API."
_CHECK_ORDER = "Check the account's permissions and the order on the run page. Then request a new preview."
_AUTOMATIC = "Nothing: the run looks the order up automatically."
_SUBSCRIBE = "Subscribe to US market data for this login"
_ALLOW_DELAYED = "or allow delayed quotes in the policy (paper accounts only)."

_TEXTS: dict[Effect, dict[int, tuple[str, str]]] = {
    Effect.REFUSES_CONNECTION: {
        326: (
            "The client id is in use by another connection to this gateway.",
            (
                "Wait: the gateway can hold the id of a lost connection for some seconds. If the error persists, look "
                "for a second worker or tool that uses the same client id."
            ),
        ),
        503: ("The gateway is too old for the API.", "Update the gateway."),
        10141: (
            "The paper login has not accepted the disclaimer of paper trading.",
            "Log in to the gateway with the paper user on its screen, and accept the disclaimer.",
        ),
    },
    Effect.CONNECTION: {
        502: ("The gateway cannot be reached.", "Start the gateway. Compare IB_HOST and IB_PORT with its settings."),
        504: ("There is no connection to the gateway.", "Start the gateway and log in."),
        507: (
            "The gateway closed the connection.",
            "Check the gateway: it may have restarted, or two clients use the same client id.",
        ),
        100: ("Too many messages per second were sent.", "Report it: the connector limits itself to 45 per second."),
        1300: (
            "The gateway's port was changed while it was running.",
            "Set IB_PORT to the gateway's port and restart the workers.",
        ),
    },
    Effect.BROKER_LOST: {
        1100: (
            "The gateway has lost its connection to Interactive Brokers. Nothing is confirmed until it is restored.",
            "Wait for 1102. If it takes long, check the network and the broker's system status page.",
        ),
        2110: (  # a client that connects meanwhile receives this code
            "The gateway has lost its connection to Interactive Brokers and is reconnecting.",
            "Wait. If it takes long, check the network.",
        ),
    },
    Effect.QUOTES_LOST: {
        1101: (
            "The gateway is connected again, but quote subscriptions were lost.",
            "Nothing: the subscriptions are renewed.",
        ),
    },
    Effect.BROKER_RESTORED: {1102: ("The gateway is connected again.", NO_ACTION)},
    Effect.NOT_SENT: {
        103: (
            "The order id was used before.",
            (
                "Nothing: the order is sent under a higher order id. If the error persists, reset the API order id "
                "sequence in the gateway's settings."
            ),
        ),
    },
    Effect.REJECTS_ORDER: {
        107: ("The order is incomplete.", "Report it: the connector sends complete orders only."),
        109: ("The price is outside the range that the broker allows.", _CHECK_ORDER),
        110: ("The price does not conform to the contract's tick size.", _CHECK_ORDER),
        111: ("The time in force does not fit the order type.", "Change the time in force in the policy."),
        116: ("The order's exchange is not available.", _CHECK_ORDER),
        200: (
            "The broker finds no contract for the symbol, or more than one.",
            "Correct the symbol in the targets or the replacement rules.",
        ),
        201: (
            "The broker rejected the order. Its message states the reason, often margin, permissions or a restriction.",
            _CHECK_ORDER,
        ),
        203: ("The security is not available or not allowed for this account.", _CHECK_ORDER),
        321: (
            "The gateway found the request invalid. A gateway in read-only mode rejects every order with this code.",
            f"{UNTICK_READ_ONLY} If it is off, report the broker's message.",
        ),
        382: ("The price exceeds the percentage limit in the gateway's presets.", _CHECK_ORDER),
        383: (
            "The size exceeds the limit in the gateway's presets.",
            "Raise the size limit in the gateway's presets, or reduce the order.",
        ),
        387: (
            "The exchange does not support the order type.",
            "Change the order type in the policy.",
        ),
        388: ("The size is below the minimum of the exchange.", _CHECK_ORDER),
        412: ("The security is not available for trading.", _CHECK_ORDER),
        434: ("The order size is zero.", "Report it: such an order is never planned."),
        435: ("The order has no account.", "Report it: the connector always sets the account."),
        436: ("The order of an advisor login names no allocation.", "Use a login that is not an advisor's."),
        451: (
            "The value exceeds the total value limit in the gateway's presets.",
            "Raise the total value limit in the gateway's presets, or reduce the order.",
        ),
        460: ("The account has no trading permission for this security.", "Request the permission from the broker."),
        10243: (
            "Fractional shares cannot be traded through the API.",
            "Report it: the connector sends whole shares only.",
        ),
    },
    Effect.WARNS_ORDER: {
        399: (
            "The broker sent a warning about the order, for example that it waits for the market to open.",
            NO_ACTION,
        ),
        404: (
            "The order is held until shares for a short sale are located.",
            "Find out why the run sells short, which it must not. Cancel the order.",
        ),
        2109: (
            "The attribute for trading outside regular hours does not apply to this order and is ignored.",
            NO_ACTION,
        ),
        10311: (
            "The order is routed directly to one exchange instead of the broker's smart routing.",
            "Report it: the connector always uses smart routing.",
        ),
        10349: (
            "A preset of the gateway set the time in force. The order is open.",
            "Remove the time-in-force preset from the gateway.",
        ),
    },
    Effect.CANCELS_ORDER: {
        202: ("The order was cancelled.", "If nobody requested it, read the reason in the broker's message."),
    },
    Effect.CANCEL_FAILED: {
        135: ("The gateway has no order with this id.", _AUTOMATIC),
        161: ("The order is not in a state in which it can be cancelled.", _AUTOMATIC),
        10147: ("The order to cancel was not found.", _AUTOMATIC),
        10148: ("The order cannot be cancelled: it is already filled or cancelled.", _AUTOMATIC),
    },
    Effect.ACCOUNT_DATA: {
        2101: (
            "The gateway does not send the account's values: the client named in its message follows another account.",
            "Nothing: they are requested in another way. If that fails, end that client.",
        ),
    },
    Effect.QUOTE: {
        101: (
            "The login has no free market data lines.",
            (
                "Nothing at first: the quote is requested again for some seconds. If the error persists, close other "
                "quote windows of this login, or use fewer symbols."
            ),
        ),
        354: (
            "The login is not subscribed to market data for this security.",
            f"{_SUBSCRIBE} and share it with the paper login, {_ALLOW_DELAYED}",
        ),
        10089: ("The security needs a market data subscription for the API.", f"Subscribe to it, {_ALLOW_DELAYED}"),
        10090: ("Part of the market data is not subscribed.", "Subscribe to the missing part."),
        10167: (
            "There is no subscription to live quotes. The broker sends delayed quotes.",
            f"{_SUBSCRIBE}, {_ALLOW_DELAYED}",
        ),
        10168: (
            "There is no subscription to live quotes, and delayed quotes are turned off.",
            f"{_SUBSCRIBE}, or set the policy's market data type to delayed.",
        ),
        10186: ("There is no subscription to live quotes, and no delayed quotes are available.", f"{_SUBSCRIBE}."),
        10197: (
            "A competing session has taken the live quotes: the same user is logged in elsewhere.",
            "Log out of TWS, the mobile app or the other gateway, or create a separate user for the rebalancer.",
        ),
    },
    Effect.REQUEST: {
        162: ("The broker could not respond to a market data request.", "Try again."),
        322: (
            "The gateway could not process a request.",
            "Try again. If the error persists, report the broker's message.",
        ),
    },
    Effect.NOTICE: {
        2100: ("The gateway has stopped sending the values of an account.", NO_ACTION),
        2103: ("A market data farm is disconnected.", "Wait. Quotes can be missing until 2104."),
        2104: ("A market data farm is connected.", NO_ACTION),
        2105: ("A historical data farm is disconnected.", NO_ACTION),
        2106: ("A historical data farm is connected.", NO_ACTION),
        2107: ("A historical data farm is idle.", NO_ACTION),
        2108: ("A market data farm is idle.", NO_ACTION),
        2119: ("A market data farm is connecting.", NO_ACTION),
        2157: ("The security definition farm is disconnected.", "Wait for 2158."),
        2158: ("The security definition farm is connected.", NO_ACTION),
    },
}
CLIENT_ID_IN_USE, INVALID_REQUEST, ACCOUNT_FOLLOWED_ELSEWHERE = 326, 321, 2101
CODES = {code: ErrorCode(effect, *texts) for effect, codes in _TEXTS.items() for code, texts in codes.items()}
"""Every code that the connector handles, documented in docs/operations.md."""


def effect_of(code: int) -> Effect | None:
    """Return the effect of a code; None for an unknown code, which proves nothing."""
    if code in CODES:
        return CODES[code].effect
    return Effect.NOTICE if 2100 <= code < 2170 else None


def explains_order(code: int) -> bool:
    """Return whether an order's status follows from the code. After any other code the order is looked up."""
    return effect_of(code) in _ABOUT_ORDERS


def is_read_only(code: int, broker_message: str) -> bool:
    """Return whether the gateway refuses a request because its API is read-only; the code has other reasons too."""
    return code == INVALID_REQUEST and "read-only" in broker_message.casefold()


def error_text(code: int, broker_message: str) -> str:
    """Return the code and the broker's message, with description and action if the code is known."""
    known = CODES.get(code)
    text = f"IBKR {code}: {broker_message.strip()}"
    if known is None or known.action == NO_ACTION:
        return text
    return f"{text} ({known.description} {known.action})"
