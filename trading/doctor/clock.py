"""Clocks: leases go by the database's, everything else by the host's."""

from datetime import datetime

from django.db.models.functions import Now
from django.utils import timezone

from accounts.models import RebalancePolicy
from trading.doctor.findings import Finding, ok, problem

CHECK = "clock"
MOST_SKEW_SECONDS = 2.0


def check() -> list[Finding]:
    """How far this host's clock is from the database's."""
    before = timezone.now()
    # Any table with a row will do: this one has had a row since it was made.
    theirs: datetime | None = RebalancePolicy.objects.annotate(now=Now()).values_list("now", flat=True).first()
    after = timezone.now()
    if theirs is None:
        return [problem(CHECK, "There is no policy.", "Run `manage.py migrate`, and give one policy the default.")]
    # The answer was made somewhere between; only what is outside that time is skew.
    skew = max((before - theirs).total_seconds(), (theirs - after).total_seconds(), 0.0)
    words = f"This host's clock and the database's differ by {skew:.1f} s."
    if skew > MOST_SKEW_SECONDS:
        return [problem(CHECK, words, "Keep the clocks of all hosts by NTP; sessions and leases go by them.")]
    return [ok(CHECK, words)]
