"""Settings of the test run: an environment of its own, whatever the machine has set."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

for name in list(os.environ):
    if name.startswith(("IB_", "ALLOCATIONS_", "ABLY_", "USER_NOTIFICATIONS_", "NOTIFICATION_", "REALTIME_")):
        del os.environ[name]

VAR = Path(tempfile.mkdtemp(prefix="rebalancer-test-"))
atexit.register(shutil.rmtree, VAR, ignore_errors=True)
os.environ.update(
    REBALANCER_ENV_FILE="",
    VAR_DIR=str(VAR),
    SECRET_KEY="test-secret-key-of-no-installation",
    TRADING_MODE="paper",
    MARKET_CALENDAR="always_open",
    ALLOW_LIVE_TRADING="false",
    LOG_LEVEL="INFO",
    DEBUG="false",
    ALLOCATIONS_API_KEY="test-allocations-key",
    LEASE_TTL_SECONDS="15",
    SWEEP_SECONDS="1",
    ORDER_SETTLE_SECONDS="0.3",
)
if os.environ.get("TEST_DATABASE") == "postgres":
    from tests.support.postgres import server_url

    os.environ["DATABASE_URL"] = server_url()  # the fixture `django_db_setup` makes the database
else:
    os.environ["DATABASE_URL"] = f"sqlite:///{VAR / 'rebalancer.sqlite3'}"

from rebalancer_site.settings import *  # noqa: E402, F403
from rebalancer_site.settings import DATABASES  # noqa: E402

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # The data of a test need not survive a crash of the machine.
    DATABASES["default"]["OPTIONS"]["init_command"] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
