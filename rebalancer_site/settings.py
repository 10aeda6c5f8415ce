"""Django settings, derived from the typed environment."""

from datetime import timedelta
from typing import Any

import dj_database_url
import django_stubs_ext
from csp.constants import NONE, SELF

from rebalancer_site.environment import BASE_DIR, load
from rebalancer_site.logging import logging_config

django_stubs_ext.monkeypatch()  # allows generic admin classes such as ModelAdmin[Model]

ENVIRONMENT = load()

# Every setting of the installation is available as `settings.NAME`.
for _name, _value in ENVIRONMENT:
    globals()[_name.upper()] = _value
IB_PORT = ENVIRONMENT.ib_port_number
IB_TIME_ZONE = ENVIRONMENT.ib_time_zone

# Django.
SECRET_KEY = ENVIRONMENT.django_secret_key()
ALLOWED_HOSTS = list(ENVIRONMENT.allowed_hosts)
CSRF_TRUSTED_ORIGINS = list(ENVIRONMENT.csrf_trusted_origins)
ROOT_URLCONF = "rebalancer_site.urls"
WSGI_APPLICATION = "rebalancer_site.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
DATA_UPLOAD_MAX_NUMBER_FIELDS = 10_100  # 2,000 targets with five fields each, the most rows that Django's forms take
TIME_ZONE = "America/New_York"
LANGUAGE_CODE = "en-us"
FORMAT_MODULE_PATH = "rebalancer_site.formats"

INSTALLED_APPS = [
    "django_q",  # before trading, whose admin removes the pages of the queue
    "django_otp.plugins.otp_totp",  # the former tables of devices, which a migration empties
    "django_otp.plugins.otp_static",
    "rebalancer_site.apps.SiteConfig",
    "trading.apps.TradingConfig",
    "accounts.apps.AccountsConfig",
    "brokers.simulated.apps.SimulatedConfig",
    "rebalancer_site.apps.ProtectedAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_htmx",
    "simple_history",
    "django_otp",
    "axes",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "trading.pages.middleware.NoStoreMiddleware",  # below static files, above everything else
    # Compresses pages, CSV and JSON, outside everything that reads or changes a body. Not done by the proxy: this also
    # works without one, and adds a random number of bytes, so that sizes reveal no secret (BREACH).
    "django.middleware.gzip.GZipMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "trading.api.middleware.JsonErrors",
    "trading.pages.middleware.RedactingMiddleware",  # outside all views, inside CommonMiddleware (Content-Length)
    "trading.pages.error_pages.UnknownAddressMiddleware",
    "trading.pages.error_pages.MethodNotAllowedMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",  # request.user.is_verified()
    "trading.pages.middleware.ActivityMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "trading.pages.ended_session.EndedSessionMiddleware",
    "simple_history.middleware.HistoryRequestMiddleware",
    "trading.pages.middleware.RefusedAttemptsMiddleware",
    "axes.middleware.AxesMiddleware",  # last: it replaces the response after a lockout
]
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",  # first: it rejects locked-out users before a password is checked
    "django.contrib.auth.backends.ModelBackend",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "trading.pages.layout.frame",
            ]
        },
    }
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "admin:login"
CSRF_FAILURE_VIEW = "trading.pages.error_pages.csrf_failure"
# Counts of refused requests, for each process. Unauthenticated clients cause entries, so that the number is limited.
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "OPTIONS": {"MAX_ENTRIES": 10_000}}}

STATIC_URL = "static/"
STATIC_ROOT = ENVIRONMENT.var_dir / "static"
STATIC_ROOT.mkdir(exist_ok=True)  # filled by collectstatic; whitenoise requires it
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if ENVIRONMENT.debug
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "report-uri": "/csp-report/",
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"  # keeps users logged in when they follow an external link
CSRF_COOKIE_HTTPONLY = True  # forms contain the token; no script needs the cookie
SESSION_COOKIE_AGE = 12 * 3600
SESSION_ENGINE = "trading.access.sessions"
if ENVIRONMENT.serves_https:  # the prefix makes browsers reject such a cookie from another host or over plain http
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "__Host-sessionid", "__Host-csrftoken"

# https only, unless the site serves this machine only (for example the demo).
SECURE_SSL_REDIRECT = ENVIRONMENT.serves_https
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^metrics$"]  # requested locally, without the proxy
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = ENVIRONMENT.serves_https
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if ENVIRONMENT.serves_https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = ENVIRONMENT.serves_https
# Only the owner of the domain, which may have other hosts, can decide about the preload list of browsers.
SILENCED_SYSTEM_CHECKS = ["security.W021"]
if ENVIRONMENT.proxy_count:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# Failed logins are counted by user name and by address separately: counting pairs would allow attempts from many
# addresses.
AXES_LOCKOUT_PARAMETERS = ["username", "ip_address"]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # otherwise anyone could lock out a user for ever
AXES_CLIENT_IP_CALLABLE = "trading.access.client_address.client_address"
AXES_SENSITIVE_PARAMETERS = ["username", "ip_address", "otp_token", "code"]
AXES_VERBOSE = False
AXES_LOCKOUT_TEMPLATE = "trading/locked_out.html"
OTP_TOTP_ISSUER = "Rebalancer"

LOGGING = logging_config(ENVIRONMENT.log_level, ENVIRONMENT.log_format)


def _databases() -> dict[str, Any]:
    url = ENVIRONMENT.database_url.get_secret_value() or f"sqlite:///{ENVIRONMENT.var_dir / 'rebalancer.sqlite3'}"
    database: dict[str, Any] = dict(dj_database_url.parse(url, conn_max_age=60, conn_health_checks=True))
    if database["ENGINE"].endswith("sqlite3"):
        # IMMEDIATE takes the write lock at the start of a transaction, where SQLite waits for it. A lock that is
        # requested later fails at once. Measured: 0 of 300 tasks failed with IMMEDIATE, 273 of 300 without.
        database["OPTIONS"] = {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
        }
    else:
        database["OPTIONS"] = {**database.get("OPTIONS", {}), "connect_timeout": 5}
    return {"default": database}


DATABASES = _databases()

# The queue only wakes workers; state, attempts and leases are stored in our own tables. A task is delivered again
# `retry` seconds after it was pulled, so retry >= 3 * timeout + 60 prevents a slow task from running twice. A task
# executes two phases of orders, each with its own timeout, and needs time to cancel, reconcile and report.
TASK_TIMEOUT_SECONDS = 2 * ENVIRONMENT.order_timeout_seconds + 300
TASK_RETRY_SECONDS = 3 * TASK_TIMEOUT_SECONDS + 120
Q_CLUSTER = {
    "name": "main",
    "orm": "default",
    "workers": 8,
    "queue_limit": 1,
    "bulk": 1,
    "timeout": TASK_TIMEOUT_SECONDS,
    "retry": TASK_RETRY_SECONDS,
    "ack_failures": True,
    "max_attempts": 1,
    "poll": 0.1,
    "guard_cycle": 0.5,
    "catch_up": False,
    "time_zone": TIME_ZONE,
    "save_limit": 250,
    "save_limit_per": "func",
    "recycle": 200,
    "daemonize_workers": True,
    "cached": False,
    "label": "Queue",
    "ALT_CLUSTERS": {
        "broker": {"workers": 8, "timeout": TASK_TIMEOUT_SECONDS, "retry": TASK_RETRY_SECONDS, "recycle": 1}
    },
}
