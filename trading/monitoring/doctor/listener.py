"""The listener, judged by its heartbeat: its age, and what it tells of connection and channels."""

from trading.monitoring.doctor.findings import Finding, off, ok, problem
from trading.monitoring.status import ListenerHealth, listener_health

CHECK = "listener"
START = "Start `manage.py listen`, under a supervisor that starts it again."
LOOK = "See docs/operations.md, which says what each state means and what to do."


def check() -> list[Finding]:
    """Whether the events of every channel are heard, where that is configured."""
    now = listener_health()
    if not now.is_enabled:
        return [off(CHECK, "REALTIME_API_KEY is not set: events come in by command, button or API only.")]
    if now.report is None:
        return [problem(CHECK, sentence, START) for sentence in now.troubles]
    troubles = [problem(CHECK, f"{sentence[:1].upper()}{sentence[1:]}.", LOOK) for sentence in now.troubles]
    return troubles + _gaps(now) or [ok(CHECK, _words(now))]


def _gaps(now: ListenerHealth) -> list[Finding]:
    to_do = "Publish anew what is not among the events, and switch on persistence of the channel in Ably."
    channels = now.report.channels if now.report else ()
    return [
        problem(CHECK, f"Messages of {channel.name} may be lost: {channel.maybe_lost}.", to_do)
        for channel in channels
        if channel.maybe_lost
    ]


def _words(now: ListenerHealth) -> str:
    report = now.report
    if report is None:
        return ""
    ping = f", ping {report.ping_ms:.0f} ms" if report.ping_ms is not None else ""
    return f"{now.listener}: {report.state}{ping}; {len(report.channels)} channels, {now.unheard} not heard."
