"""Django's settings, all derived from the typed environment."""

from datetime import timedelta
from typing import Any

import dj_database_url
import django_stubs_ext
from csp.constants import NONE, SELF

from rebalancer_site.environment import BASE_DIR, load
from rebalancer_site.logging import logging_config

django_stubs_ext.monkeypatch()  # lets admin classes name the model they are for

ENVIRONMENT = load()

# Ours, read by the applications as `settings.NAME`.
TRADING_MODE = ENVIRONMENT.trading_mode
ALLOW_LIVE_TRADING = ENVIRONMENT.allow_live_trading
MARKET_CALENDAR = ENVIRONMENT.market_calendar
SCHEDULER_ENABLED = ENVIRONMENT.scheduler_enabled
MARKET_OPEN_TIME = ENVIRONMENT.market_open_time
ORDER_TIMEOUT_SECONDS = ENVIRONMENT.order_timeout_seconds
IB_HOST = ENVIRONMENT.ib_host
IB_PORT = ENVIRONMENT.ib_port_number
ALLOCATIONS_BASE_URL = ENVIRONMENT.allocations_base_url
ALLOCATIONS_API_KEY = ENVIRONMENT.allocations_api_key
REALTIME_API_KEY = ENVIRONMENT.realtime_api_key
ABLY_ENDPOINT = ENVIRONMENT.ably_endpoint
ABLY_PORT = ENVIRONMENT.ably_port
ABLY_TLS = ENVIRONMENT.ably_tls
USER_NOTIFICATIONS_ENABLED = ENVIRONMENT.user_notifications_enabled
USER_NOTIFICATIONS_CHANNEL = ENVIRONMENT.user_notifications_channel
USER_NOTIFICATIONS_SERVER_URL = ENVIRONMENT.user_notifications_server_url
USER_NOTIFICATIONS_INCLUDE_VALUES = ENVIRONMENT.user_notifications_include_values
NOTIFICATION_URLS = ENVIRONMENT.notification_urls
BROKER_QUEUE = ENVIRONMENT.broker_queue
LEASE_TTL_SECONDS = ENVIRONMENT.lease_ttl_seconds
SWEEP_SECONDS = ENVIRONMENT.sweep_seconds
ORDER_SETTLE_SECONDS = ENVIRONMENT.order_settle_seconds
ONE_TIME_CODES_REQUIRED_FOR = ENVIRONMENT.one_time_codes_required_for
PRIVATE_NETWORK_ACCESS = ENVIRONMENT.private_network_access
API_REQUESTS_PER_MINUTE = ENVIRONMENT.api_requests_per_minute
METRICS_TOKEN = ENVIRONMENT.metrics_token
KEEP_RUNS_DAYS = ENVIRONMENT.keep_runs_days
KEEP_EVENTS_DAYS = ENVIRONMENT.keep_events_days
KEEP_VALUES_DAYS = ENVIRONMENT.keep_values_days
SITE_URL = ENVIRONMENT.site_url
PROXY_COUNT = ENVIRONMENT.proxy_count
DATABASE_URL = ENVIRONMENT.database_url  # only so that it is redacted wherever it might be told
VAR_DIR = ENVIRONMENT.var_dir
FAIL_POINTS_DIR = ENVIRONMENT.fail_points_dir
SIMULATED_OPENING_CASH_USD = ENVIRONMENT.simulated_opening_cash_usd

# Django.
SECRET_KEY = ENVIRONMENT.django_secret_key()
DEBUG = ENVIRONMENT.debug
ALLOWED_HOSTS = list(ENVIRONMENT.allowed_hosts)
CSRF_TRUSTED_ORIGINS = list(ENVIRONMENT.csrf_trusted_origins)
ROOT_URLCONF = "rebalancer_site.urls"
WSGI_APPLICATION = "rebalancer_site.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "America/New_York"
LANGUAGE_CODE = "en-us"

INSTALLED_APPS = [
    "django_q",  # before trading, whose admin takes the queue's pages away
    "rebalancer_site.apps.SiteConfig",
    "trading.apps.TradingConfig",
    "accounts.apps.AccountsConfig",
    "brokers.apps.BrokersConfig",
    "brokers.simulated.apps.SimulatedConfig",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django_htmx",
    "simple_history",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
    "axes",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "trading.api.middleware.JsonErrors",
    "trading.pages.middleware.RedactingMiddleware",  # inside of what measures the answer, around all that makes it
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",  # request.user.is_verified()
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "trading.pages.middleware.HtmxLoginMiddleware",
    "simple_history.middleware.HistoryRequestMiddleware",
    "axes.middleware.AxesMiddleware",  # last: it turns a lockout into the answer
]
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",  # first: it refuses who is locked out before a password is looked at
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

STATIC_URL = "static/"
STATIC_ROOT = ENVIRONMENT.var_dir / "static"
STATIC_ROOT.mkdir(exist_ok=True)  # filled by collectstatic; whitenoise wants it to be there
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
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
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"  # a link in a notification leads to a page, not to the login
CSRF_COOKIE_HTTPONLY = True  # forms carry the token; no script needs the cookie
SESSION_COOKIE_AGE = 12 * 3600

# https everywhere, unless the site answers to this machine only (the demo, a rehearsal).
SECURE_SSL_REDIRECT = ENVIRONMENT.serves_https
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^metrics$"]  # asked from inside, past the proxy
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = ENVIRONMENT.serves_https
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if ENVIRONMENT.serves_https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = ENVIRONMENT.serves_https
# Whether the browsers' built-in list takes a domain is for its owner to say, who may have other hosts under it.
SILENCED_SYSTEM_CHECKS = ["security.W021"]
if PROXY_COUNT:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# Logins: by user name and by address, each on its own; the pair alone lets many addresses through.
AXES_LOCKOUT_PARAMETERS = ["username", "ip_address"]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # else anybody could keep somebody out for ever
AXES_CLIENT_IP_CALLABLE = "trading.access.client_address.client_address"
AXES_SENSITIVE_PARAMETERS = ["username", "ip_address", "otp_token"]
AXES_VERBOSE = False
AXES_LOCKOUT_TEMPLATE = "trading/locked_out.html"
OTP_TOTP_ISSUER = "Rebalancer"

LOGGING = logging_config(ENVIRONMENT.log_level, ENVIRONMENT.log_format)


def _databases() -> dict[str, Any]:
    url = ENVIRONMENT.database_url.get_secret_value() or f"sqlite:///{ENVIRONMENT.var_dir / 'rebalancer.sqlite3'}"
    database: dict[str, Any] = dict(dj_database_url.parse(url, conn_max_age=60, conn_health_checks=True))
    if database["ENGINE"].endswith("sqlite3"):
        # IMMEDIATE takes the write lock at the start of a transaction, where SQLite waits for it; a lock that is
        # asked for half-way fails at once. Measured: 0 of 300 tasks failed with it, 273 of 300 without.
        database["OPTIONS"] = {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
        }
    else:
        database["OPTIONS"] = {**database.get("OPTIONS", {}), "connect_timeout": 5}
    return {"default": database}


DATABASES = _databases()

# The queue only wakes workers: truth, attempts and locks are rows of ours. A task is delivered again `retry`
# seconds after it was pulled, so retry >= 3 * timeout + 60 keeps a slow task from running twice. A task carries
# out two phases of orders, each within its deadline, and has time to cancel, reconcile and report.
TASK_TIMEOUT_SECONDS = 2 * ORDER_TIMEOUT_SECONDS + 300
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
