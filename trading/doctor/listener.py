"""The listener, judged by the age of its row."""

from django.conf import settings

from trading.doctor.findings import Finding, off, ok, problem
from trading.vital_signs import signs_of

CHECK = "listener"


def check() -> list[Finding]:
    """Whether the listener of events lives, where one is configured."""
    signs = signs_of("listener")
    if not settings.REALTIME_API_KEY.get_secret_value() and not signs:
        return [off(CHECK, "REALTIME_API_KEY is not set: events come in by command, button or API only.")]
    if not any(sign.is_fresh for sign in signs):
        return [problem(CHECK, "The listener shows no sign of life.", "Start `manage.py listen`.")]
    return [ok(CHECK, f"{sign.name}: {sign.age_seconds:.0f} s ago.") for sign in signs if sign.is_fresh]
