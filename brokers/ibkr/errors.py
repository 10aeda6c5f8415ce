"""What the error codes of Interactive Brokers mean, to the connector and to a person.

Source: the TWS API's message codes, and what was seen at a gateway. A code that is not listed here proves nothing:
an order that it is about is of unknown outcome until a status, an execution or a look-up says more.
"""

from dataclasses import dataclass
from enum import StrEnum


class Effect(StrEnum):
    """What a code does to the thing that it is about."""

    NOTICE = "notice"  # nothing is wrong
    LINK = "link"  # the connection to the gateway, or the gateway's own to the broker
    REFUSES_ORDER = "refuses_order"  # the order does not exist: this is proof
    WARNS_ORDER = "warns_order"  # the order lives on, whatever the client library makes of it
    ENDS_ORDER = "ends_order"  # what was left of the order is cancelled
    ABOUT_CANCEL = "about_cancel"  # a cancel was not taken; the order is as it was
    QUOTE = "quote"  # no quote, or not a live one
    REQUEST = "request"  # a question was not answered


@dataclass(frozen=True)
class Meaning:
    """A code in words: what happened, and what a person does about it."""

    effect: Effect
    sentence: str
    what_to_do: str


NOTHING_TO_DO = "Nothing."
_FIX_ORDER = "Look at the account's permissions and the order in the run's page; preview anew."

CODES: dict[int, Meaning] = {
    # the link
    326: Meaning(
        Effect.LINK,
        "The client id is in use by another connection to this gateway.",
        "Wait: a dropped connection can hold its id for a while. If it stays, look for a second worker or tool that "
        "uses the same client id.",
    ),
    502: Meaning(
        Effect.LINK, "The gateway cannot be reached.", "Start the gateway, and compare IB_HOST and IB_PORT with it."
    ),
    504: Meaning(Effect.LINK, "There is no connection to the gateway.", "Start the gateway and log in."),
    507: Meaning(
        Effect.LINK,
        "The gateway broke the connection off.",
        "Look at the gateway: it may have restarted, or two clients use one client id.",
    ),
    100: Meaning(
        Effect.LINK,
        "Too many messages a second were sent.",
        "Report it: the connector keeps to 45 a second by itself.",
    ),
    1100: Meaning(
        Effect.LINK,
        "The gateway has lost its connection to Interactive Brokers; nothing is confirmed until it is back.",
        "Wait for 1102. If it lasts, look at the network, and at the broker's system status page.",
    ),
    1101: Meaning(
        Effect.LINK, "The gateway is connected again; subscriptions to quotes were lost.", "Nothing: they are renewed."
    ),
    1102: Meaning(Effect.LINK, "The gateway is connected again.", NOTHING_TO_DO),
    1300: Meaning(
        Effect.LINK, "The gateway's port was changed while it ran.", "Set IB_PORT to the gateway's port; restart."
    ),
    2110: Meaning(
        Effect.LINK,
        "The gateway has lost its connection to Interactive Brokers, and tries to get it back by itself.",
        "Wait. If it lasts, look at the network.",
    ),
    # orders that do not exist
    103: Meaning(Effect.REFUSES_ORDER, "The order's number was used before.", "Preview anew; the number is a new one."),
    109: Meaning(Effect.REFUSES_ORDER, "The price is out of the range that the broker allows.", _FIX_ORDER),
    110: Meaning(Effect.REFUSES_ORDER, "The price is not on the contract's tick grid.", _FIX_ORDER),
    200: Meaning(
        Effect.REFUSES_ORDER,
        "The broker knows no such contract, or more than one.",
        "Correct the symbol in the targets or the replacement rules.",
    ),
    201: Meaning(
        Effect.REFUSES_ORDER,
        "The broker refused the order; its own words say why (often margin, permissions or a restriction).",
        _FIX_ORDER,
    ),
    203: Meaning(Effect.REFUSES_ORDER, "The security is not available or not allowed for this account.", _FIX_ORDER),
    321: Meaning(
        Effect.REFUSES_ORDER,
        "The gateway found the request invalid. A gateway in read-only mode says this of every order.",
        "Untick Read-Only API in the gateway's settings; else report the words.",
    ),
    382: Meaning(
        Effect.REFUSES_ORDER, "The price is beyond the percentage limit of the gateway's presets.", _FIX_ORDER
    ),
    383: Meaning(
        Effect.REFUSES_ORDER,
        "The size is beyond the limit of the gateway's presets.",
        "Raise the size limit in the gateway's presets, or make the order smaller.",
    ),
    434: Meaning(Effect.REFUSES_ORDER, "The size of the order is zero.", "Report it: such an order is never planned."),
    435: Meaning(Effect.REFUSES_ORDER, "The order names no account.", "Report it: the connector always names one."),
    460: Meaning(
        Effect.REFUSES_ORDER, "There is no trading permission for this security.", "Ask the broker for the permission."
    ),
    10243: Meaning(
        Effect.REFUSES_ORDER,
        "Fractions of a share cannot be traded through the API.",
        "Report it: the connector sends whole shares only.",
    ),
    # orders that live on
    399: Meaning(
        Effect.WARNS_ORDER,
        "The broker has a remark about the order, for instance that it waits for the market to open.",
        NOTHING_TO_DO,
    ),
    404: Meaning(
        Effect.WARNS_ORDER,
        "Shares for a short sale are being looked for; the order is held.",
        "Look why a run sells short: it must not. Cancel the order.",
    ),
    2109: Meaning(
        Effect.WARNS_ORDER, "Trading outside regular hours does not apply to this order and is ignored.", NOTHING_TO_DO
    ),
    10311: Meaning(
        Effect.WARNS_ORDER,
        "The order is routed to one exchange in place of the broker's smart routing.",
        "Report it: the connector always routes smart.",
    ),
    10349: Meaning(
        Effect.WARNS_ORDER,
        "The time in force was set by a preset of the gateway. The order is alive.",
        "Remove the preset of the time in force from the gateway.",
    ),
    # ends and cancels
    202: Meaning(Effect.ENDS_ORDER, "The order was cancelled.", "If nobody asked for it, the broker's words say why."),
    135: Meaning(Effect.ABOUT_CANCEL, "The gateway knows no order of this number.", "The run looks for it by itself."),
    161: Meaning(
        Effect.ABOUT_CANCEL, "The order is not in a state to be cancelled.", "The run looks for it by itself."
    ),
    10147: Meaning(Effect.ABOUT_CANCEL, "The order to cancel was not found.", "The run looks for it by itself."),
    10148: Meaning(
        Effect.ABOUT_CANCEL,
        "The order cannot be cancelled: it is filled or cancelled already.",
        "The run looks for it by itself.",
    ),
    # quotes
    101: Meaning(
        Effect.QUOTE,
        "The login has used up its market data lines.",
        "It is asked for again for a moment; if it comes back, close other quote windows of this login, or follow "
        "fewer symbols at once.",
    ),
    354: Meaning(
        Effect.QUOTE,
        "The login is not subscribed to market data of this security.",
        "Subscribe to US market data for this login, and share it with the paper login; or allow delayed quotes.",
    ),
    10089: Meaning(
        Effect.QUOTE,
        "The security needs a market data subscription for the API.",
        "Subscribe to it, or allow delayed quotes in the policy (paper accounts only).",
    ),
    10090: Meaning(Effect.QUOTE, "A part of the market data is not subscribed.", "Subscribe to the missing part."),
    10167: Meaning(
        Effect.QUOTE,
        "No subscription to live quotes: the broker sends delayed ones.",
        "Subscribe, or allow delayed quotes in the policy (paper accounts only).",
    ),
    10168: Meaning(
        Effect.QUOTE,
        "No subscription to live quotes, and delayed ones are switched off.",
        "Subscribe, or set the policy's market data type to delayed.",
    ),
    10186: Meaning(
        Effect.QUOTE,
        "No subscription to live quotes, and no delayed ones.",
        "Subscribe to US market data for this login.",
    ),
    10197: Meaning(
        Effect.QUOTE,
        "A competing session: the same user is logged in elsewhere and has taken the live quotes.",
        "Log out of TWS, the phone app or the other gateway, or give the rebalancer a user of its own.",
    ),
    # questions
    162: Meaning(Effect.REQUEST, "The broker could not answer a question about market data.", "Try again."),
    322: Meaning(
        Effect.REQUEST, "The gateway could not process a request.", "Try again; if it stays, report the words."
    ),
    # notices
    2103: Meaning(Effect.NOTICE, "A market data farm is disconnected.", "Wait; quotes may be missing until 2104."),
    2104: Meaning(Effect.NOTICE, "A market data farm is connected.", NOTHING_TO_DO),
    2105: Meaning(Effect.NOTICE, "A historical data farm is disconnected.", NOTHING_TO_DO),
    2106: Meaning(Effect.NOTICE, "A historical data farm is connected.", NOTHING_TO_DO),
    2107: Meaning(Effect.NOTICE, "A historical data farm is idle.", NOTHING_TO_DO),
    2108: Meaning(Effect.NOTICE, "A market data farm is idle.", NOTHING_TO_DO),
    2119: Meaning(Effect.NOTICE, "A market data farm is connecting.", NOTHING_TO_DO),
    2157: Meaning(Effect.NOTICE, "The farm of security definitions is disconnected.", "Wait for 2158."),
    2158: Meaning(Effect.NOTICE, "The farm of security definitions is connected.", NOTHING_TO_DO),
}
"""Every code that the connector knows by name. The tests of the documents enumerate it."""


def effect_of(code: int) -> Effect | None:
    """What a code does; None for one that proves nothing."""
    if code in CODES:
        return CODES[code].effect
    return Effect.NOTICE if 2100 <= code < 2170 else None


def error_text(code: int, brokers_words: str) -> str:
    """The code, the broker's own words, and what to do, where we know."""
    meaning = CODES.get(code)
    words = f"IBKR {code}: {brokers_words.strip()}"
    if meaning is None or meaning.what_to_do == NOTHING_TO_DO:
        return words
    return f"{words} ({meaning.sentence} {meaning.what_to_do})"
