"""Whether orders may be sent at all: what people have switched, not what is broken."""

from django.conf import settings

from accounts.models import Account
from trading.models import TradingControl
from trading.monitoring.doctor.findings import Finding, off, ok

CHECK = "trading"


def check() -> list[Finding]:
    """The kill switches, and the two keys of live trading."""
    findings = [_mode()]
    control = TradingControl.objects.filter(trading_paused=True).first()
    if control is not None:
        why = f": {control.reason}" if control.reason else ""
        findings.append(off(CHECK, f"Trading is paused for all accounts{why}. `manage.py resume` switches it on."))
    if paused := list(Account.objects.filter(trading_paused=True).values_list("account_id", flat=True)):
        findings.append(off(CHECK, f"Trading is paused for {', '.join(sorted(paused))}."))
    return findings


def _mode() -> Finding:
    enabled = Account.objects.filter(type=settings.TRADING_MODE, enabled=True)
    words = f"TRADING_MODE={settings.TRADING_MODE}: {enabled.count()} enabled accounts"
    if settings.TRADING_MODE == "paper":
        return ok(CHECK, f"{words}. Live ones are previewed only.")
    if not settings.ALLOW_LIVE_TRADING:
        return off(CHECK, f"{words}, and ALLOW_LIVE_TRADING is off: they are previewed only.")
    return ok(CHECK, f"{words}, of which {enabled.filter(live_armed=True).count()} are armed.")
