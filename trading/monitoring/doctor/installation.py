"""Checks of the installation itself: database and disk, site security, clock, exchange calendar."""

import shutil
from collections.abc import Iterator

from django.conf import settings
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from calculator.formats import decimals
from trading.common.clock import MAX_SKEW_SECONDS, skew_seconds
from trading.common.formats import ZONE, instant_text
from trading.market_calendar import market_calendar
from trading.models import Authenticator, ProcessHeartbeat
from trading.monitoring.doctor.findings import Finding, ok, problem

MIN_FREE_BYTES = 500_000_000


def database() -> Iterator[Finding]:
    """Check that the database responds, is migrated and accepts writes, and that the disk of `VAR_DIR` has space."""
    try:
        connection.ensure_connection()
    except DatabaseError as error:
        yield problem(f"The database cannot be reached: {error}", "Start it, or correct DATABASE_URL.")
        return
    executor = MigrationExecutor(connection)
    if missing := executor.migration_plan(executor.loader.graph.leaf_nodes()):
        yield problem(f"Unapplied migrations: {len(missing)}.", "Run `manage.py migrate`.")
        return
    try:
        with transaction.atomic():
            ProcessHeartbeat.objects.create(name="doctor", kind="doctor", at=timezone.now())
            transaction.set_rollback(True)
    except DatabaseError as error:
        to_do = "Check for a full disk, a read-only file system, or a database user without write permission."
        yield problem(f"The database rejects writes: {error}", to_do)
    else:
        yield ok(f"{connection.display_name} responds, is migrated and accepts writes.")
    free = shutil.disk_usage(settings.VAR_DIR).free
    message = f"{decimals(free / 1e9, 1)} GB free in {settings.VAR_DIR}."
    to_do = "Free disk space. On a full disk no order can be stored, and none is submitted."
    yield problem(message, to_do) if free < MIN_FREE_BYTES else ok(message)


def site() -> Iterator[Finding]:
    """Check debug mode, https, and superusers without two-factor authentication."""
    if settings.DEBUG:
        yield problem("DEBUG is on: error pages show source code.", "Set DEBUG=false and restart.")
    else:
        yield ok("DEBUG is off.")
    if not settings.SECURE_SSL_REDIRECT and settings.ALLOW_LIVE_TRADING and "*" in settings.ALLOWED_HOSTS:
        message = "The site accepts any host name over plain http, and live trading is allowed."
        yield problem(message, "Set ALLOWED_HOSTS to the site's name, and HTTPS=true behind a proxy with TLS.")
    else:
        scheme = "https only" if settings.SECURE_SSL_REDIRECT else "plain http"
        yield ok(f"The site accepts the hosts {', '.join(settings.ALLOWED_HOSTS)} over {scheme}.")
    with_device = Authenticator.objects.filter(confirmed=True).values("user")
    without = User.objects.filter(is_active=True, is_superuser=True).exclude(pk__in=with_device).count()
    message = f"Superusers without two-factor authentication (2FA): {without}."
    if without and settings.ALLOW_LIVE_TRADING:
        to_do = "Set it up in the user menu. ONE_TIME_CODES_REQUIRED_FOR=live requires it."
        yield problem(f"{message} Live trading is allowed.", to_do)
    else:
        yield ok(message)


def clock() -> Iterator[Finding]:
    """Compare the clock of this host with that of the database."""
    skew = skew_seconds()
    if skew is None:
        yield problem("There is no policy.", "Run `manage.py migrate`, and mark one policy as the default.")
        return
    to_do = "Synchronize the clocks of all hosts by NTP. Sessions and leases depend on them."
    message = f"The clocks of this host and of the database differ by {skew:.1f} s."
    yield problem(message, to_do) if skew > MAX_SKEW_SECONDS else ok(message)


def calendar() -> Iterator[Finding]:
    """Check that the exchange calendar can be used, and show the current or next session."""
    try:
        session = market_calendar().session_of(timezone.now())
    except Exception as error:  # noqa: BLE001 - the library raises any exception for an unknown calendar
        message = f"The calendar {settings.MARKET_CALENDAR!r} cannot be used: {error}"
        yield problem(message, "Set MARKET_CALENDAR to a code of exchange-calendars, such as XNYS.")
        return
    opens, closes = (instant_text(at, "minutes", weekday=True) for at in (session.opens_at, session.closes_at))
    which = "current" if session.opens_at <= timezone.now() else "next"
    yield ok(f"{settings.MARKET_CALENDAR}: {which} session {opens} to {closes} {ZONE}.")
