"""Two clocks: leases go by the database's, sessions and quotes by this host's. They must not differ."""

from datetime import datetime

from django.db.models.functions import Now
from django.utils import timezone

from accounts.models import RebalancePolicy

MAX_SKEW_SECONDS = 2.0


def skew_seconds() -> float | None:
    """How far this host's clock is from the database's; None when there is no row to ask with."""
    before = timezone.now()
    # Any table with a row will do: this one has had a row since it was made.
    theirs: datetime | None = RebalancePolicy.objects.annotate(now=Now()).values_list("now", flat=True).first()
    after = timezone.now()
    if theirs is None:
        return None
    # The answer was made somewhere between; only what is outside that time is skew.
    return max((before - theirs).total_seconds(), (theirs - after).total_seconds(), 0.0)
