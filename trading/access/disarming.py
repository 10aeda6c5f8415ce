"""Which changes disarm safety: they need a fresh two-factor code where codes are used, and are reported to operators.

Every model of the admin is in `MODELS`, every page and API operation that writes in `WRITING_VIEWS`. A model that is
missing is treated as `Rule()`: each of its changes disarms safety.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Model, Q, Subquery
from django.db.models.functions import Coalesce

from accounts.models import Account
from trading.errors import Refused

ANY = object()
"""Stands for every value of a field."""


class Effect(Enum):
    """What a write can do."""

    READ_ONLY = auto()
    """The admin shows the rows and changes none."""
    HARMLESS = auto()
    """It neither trades nor weakens a protection."""
    TRADES = auto()
    """It can cause orders, and checks permissions and codes of orders (`trading.access.two_factor`)."""
    OWN_CHECK = auto()
    """It asks for a code itself, and reports itself where it disarms safety."""


def _always(_: Any) -> bool:
    return True


def _never(_: Any) -> bool:
    return False


@dataclass(frozen=True)
class Rule:
    """Which changes of a model disarm safety. The default: all."""

    harmless: Mapping[str, Any] = field(default_factory=dict)
    """Fields that may change to this value without disarming anything."""
    adding: Callable[[Any], bool] = _always
    deleting: bool = True
    actions: Mapping[str, bool] = field(default_factory=dict)
    """Whether an admin action disarms safety. An action that is not listed does."""
    concerns_live: Callable[[Any], bool] = _always
    of_live_only: bool = False
    """The change is ordinary for paper accounts, unless all orders require codes."""


def _is_live(account: Account) -> bool:
    live = Account.Type.LIVE
    return account.type == live or Account.objects.filter(pk=account.pk, type=live).exists()


def _followed_by_live(strategy: Any) -> bool:
    return bool(strategy.pk) and Account.objects.filter(type=Account.Type.LIVE, strategy=strategy.pk).exists()


def _replaces_for_live(replacement_set: Any) -> bool:
    live = Account.objects.filter(type=Account.Type.LIVE)
    return bool(replacement_set.pk) and live.filter(replacement_set=replacement_set.pk).exists()


def _governs_live(policy: Any) -> bool:
    uses = Q(policy=policy.pk) | Q(policy=None) if policy.is_default else Q(policy=policy.pk)
    return Account.objects.filter(uses, type=Account.Type.LIVE).exists()


def _replaces_the_default(policy: Any) -> bool:
    return policy.is_default and Account.objects.filter(policy=None).exists()


ACCOUNT = Rule(
    harmless={"name": ANY, "trading_paused": True, "live_armed": False, "enabled": False},
    adding=lambda account: account.live_armed,
    actions={"pause_trading": False, "resume_trading": True},
    concerns_live=_is_live,
)
STRATEGY = Rule(
    harmless={"title": ANY, "notes": ANY, "enabled": False, "cadence": "none", "drift_check": "off"}
    | {"schedule_changed_at": ANY},
    adding=_never,
    concerns_live=_followed_by_live,
    of_live_only=True,
)
TARGET = Rule(concerns_live=lambda target: _followed_by_live(target.strategy), of_live_only=True)
REPLACEMENTS = Rule(harmless={"description": ANY}, adding=_never, concerns_live=_replaces_for_live, of_live_only=True)
REPLACEMENT = Rule(concerns_live=lambda rule: _replaces_for_live(rule.replacement_set), of_live_only=True)
POLICY = Rule(harmless={"name": ANY}, adding=_replaces_the_default, concerns_live=_governs_live)
KILL_SWITCH = Rule(
    harmless={"trading_paused": True, "reason": ANY, "updated_at": ANY, "cancel_orders": ANY},
    adding=lambda control: not control.trading_paused,
)

MODELS: dict[str, Rule | Effect] = {
    "accounts.account": ACCOUNT,
    "accounts.strategy": STRATEGY,
    "accounts.targetallocation": TARGET,
    "accounts.replacementset": REPLACEMENTS,
    "accounts.replacementrule": REPLACEMENT,
    "accounts.rebalancepolicy": POLICY,
    "accounts.brokerconnection": Effect.READ_ONLY,
    "trading.tradingcontrol": KILL_SWITCH,
    "trading.contractchoice": Rule(),
    "trading.webhook": Rule(harmless={"enabled": True}),
    "trading.apitoken": Rule(adding=lambda token: set(token.scopes) != {"read"}, actions={"revoke_tokens": False}),
    "auth.user": Rule(harmless=dict.fromkeys(("first_name", "last_name", "email"), ANY) | {"is_active": False}),
    "auth.group": Rule(),
    "trading.authenticator": Rule(),
    "trading.usersession": Effect.HARMLESS,  # ends sessions only
    "axes.accessattempt": Rule(),
    "axes.accesslog": Rule(),
    "axes.accessfailurelog": Rule(),
    **dict.fromkeys(
        (
            "trading.auditentry",
            "trading.notification",
            "trading.delivery",
            "trading.order",
            "trading.unrecordedorder",
            "trading.rebalancerun",
            "trading.strategyevent",
            "trading.executedsession",
            "trading.seenexecution",
            "trading.scheduleentry",
            "trading.scheduledjob",
            "trading.processheartbeat",
            "trading.channelposition",
        ),
        Effect.READ_ONLY,
    ),
    # Simulated accounts, which hold no money.
    **dict.fromkeys(
        (
            "simulated.simulatedfault",
            "simulated.simulatedmarket",
            "simulated.simulatedinstrument",
            "simulated.simulatedaccount",
            "simulated.simulatedorder",
        ),
        Effect.HARMLESS,
    ),
}
"""The models of the admin, by label."""

WRITING_VIEWS = {
    "trading:preview": Effect.HARMLESS,
    "trading:refresh_account": Effect.HARMLESS,
    "trading:schedule_add": Effect.TRADES,
    "trading:schedule_preview": Effect.HARMLESS,
    "trading:schedule_remove": Effect.HARMLESS,
    "trading:fetch_targets": Effect.HARMLESS,
    "trading:execute": Effect.TRADES,
    "trading:decline": Effect.HARMLESS,
    "trading:stop": Effect.HARMLESS,
    "trading:stop_and_cancel": Effect.HARMLESS,
    "trading:close": Effect.HARMLESS,
    "trading:resolve_order": Effect.OWN_CHECK,
    "trading:pause": Effect.HARMLESS,
    "trading:resume": Effect.OWN_CHECK,
    "trading:test_notification": Effect.HARMLESS,
    "trading:two_factor_enrol": Effect.OWN_CHECK,
    "trading:two_factor_remove": Effect.OWN_CHECK,
    "trading:enter_code": Effect.HARMLESS,
    "trading:end_sessions": Effect.HARMLESS,
    "trading:csp_report": Effect.HARMLESS,
    "api:preview": Effect.HARMLESS,
    "api:execute": Effect.TRADES,
    "api:decline": Effect.HARMLESS,
    "api:stop": Effect.HARMLESS,
    "api:submit_event": Effect.TRADES,
}
"""The pages and API operations that write, by name. Of these, only `resume` changes a safety setting."""


def rule_of(model: type[Model]) -> Rule | None:
    """Return the rule of a model; None for a model whose changes never disarm safety."""
    rule = MODELS.get(model._meta.label_lower, Rule())  # noqa: SLF001 - Django's name for it
    return rule if isinstance(rule, Rule) else None


def disarms(rule: Rule, row: Any, *, verb: str, changes: Mapping[str, Any]) -> bool:
    """Return whether a change disarms safety.

    Args:
        rule: the rule of the row's model.
        row: the row, with its new values.
        verb: `added`, `changed` or `deleted`.
        changes: the new values of the changed fields.
    """
    if rule.of_live_only and settings.ONE_TIME_CODES_REQUIRED_FOR != "execute" and not rule.concerns_live(row):
        return False
    if verb == "added":
        return rule.adding(row)
    if verb == "deleted":
        return rule.deleting
    return any(name not in rule.harmless or rule.harmless[name] not in (ANY, value) for name, value in changes.items())


def pause_record(row: Any) -> Any:
    """Return the history record with which the kill switch of a paused row was turned on; None if it is lost.

    Its `history_user` is None for a command, and after the user was deleted.
    """
    history = row.history.select_related("history_user").order_by("history_id")
    last_off = Coalesce(
        Subquery(history.filter(trading_paused=False).order_by("-history_id").values("history_id")[:1]), 0
    )
    return history.filter(trading_paused=True, history_id__gt=last_off).first()


def resume_refusal(row: Any, user: User) -> Refused | None:
    """Return why the user may not turn off the kill switch of the row, or None.

    With `RESUME_BY_ANOTHER_USER`, the user who turned it on may not. A pause by a command can be ended by every user.
    """
    if not settings.RESUME_BY_ANOTHER_USER:
        return None
    paused = pause_record(row)
    if paused is None or paused.history_user_id != user.pk:
        return None
    return Refused(
        "other_user_needed", "Nothing was changed. You turned this kill switch on: another user must turn it off."
    )
