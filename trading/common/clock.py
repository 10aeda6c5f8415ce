"""Two clocks: leases and the order of events use the database's, sessions and quotes use this host's."""

from datetime import datetime

from django.db.models.functions import Now
from django.utils import timezone

from accounts.models import RebalancePolicy

MAX_SKEW_SECONDS = 2.0
"""Maximum acceptable difference, in seconds."""


def _database_clock() -> datetime | None:
    # Any table with a row would do. This one has had a row since its migration.
    now: datetime | None = RebalancePolicy.objects.annotate(now=Now()).values_list("now", flat=True).first()
    return now


def database_now() -> datetime:
    """Return the time by the database's clock, which is the same for all hosts; this host's if no policy exists."""
    return _database_clock() or timezone.now()


def skew_seconds() -> float | None:
    """Return the minimum difference between the two clocks, in seconds; None if no policy exists to query with."""
    before = timezone.now()
    database = _database_clock()
    after = timezone.now()
    if database is None:
        return None
    # The database read its clock between `before` and `after`. Only a time outside that interval is skew.
    return max((before - database).total_seconds(), (database - after).total_seconds(), 0.0)
