"""Sessions in the database: keys stored as digests, an inactivity limit, and a list from which users end them.

`SESSION_ENGINE` names this module, so that Django uses its `SessionStore`.
"""

import hashlib
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.signals import user_logged_in
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from trading.access.client_address import client_address
from trading.models import UserSession

LOGIN = "login"
TOUCH_INTERVAL = timedelta(minutes=1)
"""Minimum time between two updates of a session's last activity."""


class SessionStore(DatabaseStore):
    """A session; in the cookie is its key, in the database the key's digest."""

    last_seen_at: datetime | None = None
    """Last recorded activity, once the session is loaded."""

    @classmethod
    def get_model_class(cls) -> type[UserSession]:
        """Return the table."""
        return UserSession

    def exists(self, session_key: str) -> bool:
        """Return whether the key is used."""
        return UserSession.objects.filter(pk=digest(session_key)).exists()

    def create_model_instance(self, data: dict[str, Any]) -> UserSession:
        """Return the row of the session."""
        login = data.get(LOGIN, {})
        now = timezone.now()
        return UserSession(
            session_key=digest(self._get_or_create_session_key()),  # type: ignore[attr-defined]  # not in the stubs
            session_data=self.encode(data),
            expire_date=self.get_expiry_date(),
            user_id=data.get(SESSION_KEY),
            address=login.get("address", ""),
            browser=login.get("browser", ""),
            started_at=(parse_datetime(login["at"]) if login else None) or now,
            last_seen_at=now,
        )

    def delete(self, session_key: str | None = None) -> None:
        """End the session."""
        if key := session_key or self.session_key:
            UserSession.objects.filter(pk=digest(key)).delete()

    def _get_session_from_db(self) -> UserSession | None:
        row = live_sessions().filter(pk=digest(self.session_key or "")).first()
        if row is None:
            self._session_key = None
        else:
            self.last_seen_at = row.last_seen_at
        return row


def connect() -> None:
    """Store address and browser of each login in its session."""
    user_logged_in.connect(_logged_in, dispatch_uid="sessions.login")


def digest(session_key: str) -> str:
    """Return the stored form of a key. It has 160 random bits, so that a fast hash is enough."""
    return hashlib.sha256(session_key.encode()).hexdigest()


def live_sessions() -> QuerySet[UserSession]:
    """Return the sessions that have neither expired nor been inactive for `SESSION_IDLE_MINUTES`."""
    now = timezone.now()
    oldest = now - timedelta(minutes=settings.SESSION_IDLE_MINUTES)
    return UserSession.objects.filter(expire_date__gt=now, last_seen_at__gt=oldest)


def touch(request: HttpRequest) -> None:
    """Record that the user was active, at most once per `TOUCH_INTERVAL`."""
    session, now = request.session, timezone.now()
    if isinstance(session, SessionStore) and session.last_seen_at and session.last_seen_at < now - TOUCH_INTERVAL:
        UserSession.objects.filter(pk=digest(session.session_key or "")).update(last_seen_at=now)


def _logged_in(request: HttpRequest, **_: object) -> None:
    request.session[LOGIN] = {
        "at": timezone.now().isoformat(),
        "address": client_address(request)[:45],
        "browser": request.headers.get("User-Agent", "")[:200],
    }
