"""The environment variables of the installation, read once, validated and typed. No other module reads them.

A secret `NAME` can also be given as `NAME_FILE`, the path of a file that contains it. `make docs` writes the settings
and their descriptions into docs/configuration.md and .env.example.
"""

import base64
import contextlib
import os
import secrets
from collections.abc import Mapping
from datetime import time
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from pydantic import AliasChoices, BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

BASE_DIR = Path(__file__).resolve().parent.parent
LIVE_PORT, PAPER_PORT = 4003, 4004
KEY_BYTES = 32
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


def is_secret(field: FieldInfo) -> bool:
    """Return whether the setting is a secret, which can also be given as a file."""
    return "SecretStr" in str(field.annotation)


class _SecretFiles(EnvSettingsSource):
    """Read the secret `NAME` from the file in `NAME_FILE`, a variable of the environment or of the `.env` file."""

    def __init__(self, settings_cls: type[BaseSettings], variables: Mapping[str, str | None]) -> None:
        super().__init__(settings_cls)
        self._paths = {name.upper(): path for name, path in variables.items()}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        names = [field_name.upper()]
        if isinstance(field.validation_alias, AliasChoices):
            names = [str(choice).upper() for choice in field.validation_alias.choices]
        for name in names:
            path = self._paths.get(f"{name}_FILE")
            if path and is_secret(field):
                try:
                    return Path(path).read_text(encoding="utf-8").strip(), names[0], False
                except OSError as error:
                    raise ValueError(f"{name}_FILE: cannot read {path}: {error.strerror}.") from error
        return None, field_name, False


class Environment(BaseSettings):
    """The settings of an installation outside the database, in the order of the documentation."""

    model_config = SettingsConfigDict(
        env_file=os.environ.get("REBALANCER_ENV_FILE", str(BASE_DIR / ".env")) or None,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        env_ignore_empty=True,
        use_attribute_docstrings=True,
    )

    trading_mode: Annotated[Literal["paper", "live"], BeforeValidator(lambda mode: mode.strip().lower())] = "paper"
    """Account type that this installation trades: `paper` or `live`."""
    allow_live_trading: bool = False
    """Allow live trading. Each live account must also be armed."""
    market_calendar: str = "XNYS"
    """Exchange calendar. `always_open` ignores trading hours; paper only."""
    scheduler_enabled: bool = True
    """Start scheduled accounts at the market open."""
    market_open_time: time = time(9, 30)
    """New York time at which scheduled accounts start; never before the session opens."""
    order_timeout_seconds: int = Field(300, ge=5, le=23_400)
    """Default and maximum order timeout of policies, in seconds."""
    simulated_opening_cash_usd: Decimal = Field(Decimal(100_000), ge=0)
    """Opening cash of a simulated account, in USD."""

    ib_host: str = "127.0.0.1"
    """Host of the IB Gateway."""
    ib_port: int | None = Field(None, ge=1, le=65_535)
    """Port of the IB Gateway. Default: 4004 for paper, 4003 for live."""
    ib_time_zone: str = ""
    """Time zone of the IB Gateway, such as `America/New_York`. Needed only if it sends times without a zone."""

    allocations_base_url: str = ""
    """Base URL of the allocations service."""
    allocations_api_key: SecretStr = SecretStr("")
    """API key of the allocations service, sent in the header `x-api-key`."""
    realtime_api_key: SecretStr = Field(
        SecretStr(""), validation_alias=AliasChoices("realtime_api_key", "rebalance_event_subscription_api_key")
    )
    """Ably key with `subscribe` and `history` on the channels of the strategies."""
    ably_endpoint: str = ""
    """Ably host, if not the default."""
    ably_port: int | None = Field(None, ge=1, le=65_535)
    """Port of the Ably host."""
    ably_tls: bool = True
    """Connect to Ably with TLS."""
    private_network_access: bool = False
    """Allow the allocations service and webhooks to have private addresses."""

    user_notifications_enabled: bool = False
    """Send notifications to ntfy."""
    user_notifications_channel: str = ""
    """ntfy topic."""
    user_notifications_server_url: str = "https://ntfy.sh"
    """ntfy server."""
    user_notifications_include_values: bool = False
    """Include account values in notifications."""
    notification_urls: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """Apprise URLs, separated by commas or white space."""

    site_url: str = ""
    """Public address of the site, used for links in notifications."""
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ("localhost", "127.0.0.1", "[::1]")
    """Host names that the site serves."""
    csrf_trusted_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Trusted origins for forms behind a proxy."""
    https: bool | None = None
    """Serve the site over https only. Default: on, unless `ALLOWED_HOSTS` names this machine only."""
    proxy_count: int = Field(0, ge=0, le=5)
    """Number of trusted reverse proxies in front of the site."""
    one_time_codes_required_for: Literal["nothing", "live", "execute"] = "nothing"
    """Orders and safety settings that require two-factor authentication: `nothing`, `live` or `execute` (all)."""
    two_factor_needs_permission: bool = False
    """A first two-factor device can be set up only by users with the permission `trading.enrol_two_factor`."""
    session_idle_minutes: int = Field(60, ge=5, le=720)
    """Minutes without activity after which a login ends. It ends after 12 hours at the latest."""
    resume_by_another_user: bool = False
    """A kill switch that a user turned on can be turned off in the admin by another user only."""
    api_requests_per_minute: int = Field(120, ge=1, le=100_000)
    """Maximum requests per minute of one API token."""
    secret_key: SecretStr = SecretStr("")
    """Django's secret key. Default: generated once and stored in `VAR_DIR`."""
    credentials_key: SecretStr = SecretStr("")
    """Keys that encrypt secrets in the database, separated by commas. Default: derived from `SECRET_KEY`."""
    debug: bool = False
    """Django's debug mode. Never enable it on a machine that others can reach."""

    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(str.upper)] = "INFO"
    """Log level: `DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`."""
    log_format: Literal["text", "json"] = "text"
    """Log format: `text` or `json`."""
    metrics_token: SecretStr = SecretStr("")
    """Token that lets Prometheus on another machine read `/metrics`. This machine needs none."""

    database_url: SecretStr = SecretStr("")
    """Database URL. Default: SQLite in `VAR_DIR`."""
    var_dir: Path = BASE_DIR / "var"
    """Folder for the files of the installation."""
    keep_runs_days: int = Field(1825, ge=30)
    """Days to keep runs with their orders."""
    keep_events_days: int = Field(365, ge=30)
    """Days to keep events without runs, and messages."""
    keep_values_days: int = Field(3650, ge=30)
    """Days to keep account values."""
    keep_audit_days: int = Field(1825, ge=90)
    """Days to keep the audit trail."""

    broker_queue: Literal["main", "broker"] = "main"
    """Queue for broker work. `broker` needs a worker with `Q_CLUSTER_NAME=broker`."""
    lease_ttl_seconds: float = Field(30, ge=1, le=600)
    """Lifetime of a slot's lease without renewal, in seconds."""
    sweep_seconds: float = Field(15, ge=0.2, le=600)
    """Interval at which unfinished runs are checked and restarted, in seconds."""
    order_settle_seconds: float = Field(15, ge=0.1, le=600)
    """Minimum age of an unacknowledged order before a lookup can mark it as lost, in seconds."""
    fail_points_dir: Path | None = None
    """For fault tests only: folder with the fail points that stop a worker."""

    @field_validator("allowed_hosts", "csrf_trusted_origins", "notification_urls", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    @field_validator("site_url")
    @classmethod
    def _is_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment):
            raise ValueError("Use an address such as https://rebalancer.example.org")
        return value.rstrip("/")

    @field_validator("credentials_key")
    @classmethod
    def _are_keys(cls, value: SecretStr) -> SecretStr:
        for key in filter(None, value.get_secret_value().split(",")):
            try:
                length = len(base64.b64decode(key.strip(), altchars=b"-_", validate=True))
            except ValueError:
                length = 0
            if length != KEY_BYTES:
                raise ValueError("A key is 32 bytes in URL-safe base64: openssl rand -base64 32 | tr '+/' '-_'")
        return value

    @model_validator(mode="after")
    def _test_settings_need_paper(self) -> Self:
        if self.market_calendar == "always_open" and self.trading_mode != "paper":
            raise ValueError("MARKET_CALENDAR=always_open ignores trading hours. It requires TRADING_MODE=paper.")
        if self.fail_points_dir is not None and self.trading_mode != "paper":
            raise ValueError("FAIL_POINTS_DIR is for fault tests only and requires TRADING_MODE=paper. Remove it.")
        return self

    @property
    def serves_https(self) -> bool:
        """Return `HTTPS`; if unset, whether `ALLOWED_HOSTS` names anything but this machine."""
        return self.https if self.https is not None else not LOOPBACK_NAMES.issuperset(self.allowed_hosts)

    @property
    def ib_port_number(self) -> int:
        """Return `IB_PORT`; if unset, the default port of the trading mode."""
        return self.ib_port or (LIVE_PORT if self.trading_mode == "live" else PAPER_PORT)

    def django_secret_key(self) -> str:
        """Return `SECRET_KEY`; if unset, a key generated once in `VAR_DIR` and readable by its owner only."""
        if configured := self.secret_key.get_secret_value():
            return configured
        path = self.var_dir / "secret_key"
        if not path.exists():
            # A hard link to a complete file: of two processes that start together one wins, and both read a whole key.
            temporary = self.var_dir / f"secret_key.{os.getpid()}"
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(64))
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(temporary)
            temporary.unlink()
        return path.read_text(encoding="utf-8")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - NAME_FILE replaces it
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources by precedence: environment, then `.env` file; in each, `NAME` before `NAME_FILE`."""
        in_env_file = dotenv_settings.env_vars if isinstance(dotenv_settings, DotEnvSettingsSource) else {}
        return (
            init_settings,
            env_settings,
            _SecretFiles(settings_cls, os.environ),
            dotenv_settings,
            _SecretFiles(settings_cls, in_env_file),
        )


class ConfigurationError(ImproperlyConfigured):
    """A setting is invalid. The message names each invalid setting, without its value."""


def load() -> Environment:
    """Read the environment and create `VAR_DIR`.

    Raises:
        ConfigurationError: A setting is invalid.
    """
    try:
        environment = Environment()
    except SettingsError as error:
        raise ConfigurationError(str(error.__cause__ or error)) from None
    except ValidationError as error:
        raise ConfigurationError("\n".join(map(_message, error.errors(include_input=False)))) from None
    environment.var_dir.mkdir(parents=True, exist_ok=True)
    return environment


def _message(problem: ErrorDetails) -> str:
    name, text = ".".join(map(str, problem["loc"])).upper(), problem["msg"].removeprefix("Value error, ").rstrip(".")
    return f"{name}: {text}." if name else f"{text}."
