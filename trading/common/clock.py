"""Difference between two clocks: leases use the database's, sessions and quotes use this host's."""

from datetime import datetime

from django.db.models.functions import Now
from django.utils import timezone

from accounts.models import RebalancePolicy

MAX_SKEW_SECONDS = 2.0
"""Maximum acceptable difference, in seconds."""


def skew_seconds() -> float | None:
    """Return the minimum difference between the two clocks, in seconds; None if no policy exists to query with."""
    before = timezone.now()
    # Any table with a row would do. This one has had a row since its migration.
    database: datetime | None = RebalancePolicy.objects.annotate(now=Now()).values_list("now", flat=True).first()
    after = timezone.now()
    if database is None:
        return None
    # The database read its clock between `before` and `after`. Only a time outside that interval is skew.
    return max((before - database).total_seconds(), (database - after).total_seconds(), 0.0)
