"""The environment, read once, checked and typed. Nothing else in the project looks at it.

Every secret `NAME` may also be given as `NAME_FILE`, the path of a file that holds it.
"""

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
from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
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
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


class _SecretFiles(EnvSettingsSource):
    """Reads the secret `NAME` from the file that `NAME_FILE` names, in the environment or in the `.env` file."""

    def __init__(self, settings_cls: type[BaseSettings], names: Mapping[str, str | None]) -> None:
        super().__init__(settings_cls)
        self._paths = {name.upper(): path for name, path in names.items()}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        names = [field_name.upper()]
        if isinstance(field.validation_alias, AliasChoices):
            names = [str(choice).upper() for choice in field.validation_alias.choices]
        for name in names:
            path = self._paths.get(f"{name}_FILE")
            if path and "SecretStr" in str(field.annotation):
                try:
                    return Path(path).read_text(encoding="utf-8").strip(), names[0], False
                except OSError as error:
                    message = f"{name}_FILE names {path}, which cannot be read: {error.strerror}."
                    raise ValueError(message) from error
        return None, field_name, False


class Environment(BaseSettings):
    """Every setting that an installation can make outside the database."""

    model_config = SettingsConfigDict(
        env_file=os.environ.get("REBALANCER_ENV_FILE", str(BASE_DIR / ".env")) or None,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        env_ignore_empty=True,
    )

    trading_mode: Literal["paper", "live"] = Field("paper", description="Which kind of accounts is traded.")
    allow_live_trading: bool = Field(False, description="The environment's key to live trading.")
    market_calendar: str = Field("XNYS", description="Exchange calendar; `always_open` rehearses on paper.")
    scheduler_enabled: bool = Field(True, description="Whether scheduled accounts start at the open.")
    market_open_time: time = Field(
        time(9, 30), description="New York time at which scheduled accounts start, never before the session opens."
    )
    order_timeout_seconds: int = Field(300, ge=5, le=23_400, description="Default order deadline of policies.")

    ib_host: str = Field("127.0.0.1", description="Host of the IB Gateway.")
    ib_port: int | None = Field(None, ge=1, le=65_535, description="Its port; else 4004 paper, 4003 live.")

    allocations_base_url: str = Field("", description="Base URL of the allocations service.")
    allocations_api_key: SecretStr = Field(SecretStr(""), description="Sent to it in the header `x-api-key`.")

    realtime_api_key: SecretStr = Field(
        SecretStr(""),
        validation_alias=AliasChoices("realtime_api_key", "rebalance_event_subscription_api_key"),
        description="Ably key for the strategies' channels.",
    )
    ably_endpoint: str = Field("", description="Another Ably host.")
    ably_port: int | None = Field(None, ge=1, le=65_535, description="Its port.")
    ably_tls: bool = Field(True, description="Whether it speaks TLS.")

    user_notifications_enabled: bool = Field(False, description="Whether notifications are sent to ntfy.")
    user_notifications_channel: str = Field("", description="The ntfy topic.")
    user_notifications_server_url: str = Field("https://ntfy.sh", description="The ntfy server.")
    user_notifications_include_values: bool = Field(False, description="Account values in notifications.")
    notification_urls: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (), description="Apprise URLs, separated by commas or white space."
    )

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field("INFO", description="Log level.")
    log_format: Literal["text", "json"] = Field("text", description="Form of log lines.")

    database_url: SecretStr = Field(SecretStr(""), description="Database; SQLite in `VAR_DIR` when empty.")
    var_dir: Path = Field(BASE_DIR / "var", description="Where the installation keeps its own files.")
    secret_key: SecretStr = Field(SecretStr(""), description="Django's secret key.")
    debug: bool = Field(False, description="Django's debug mode; never on a machine that others reach.")
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        ("localhost", "127.0.0.1", "[::1]"), description="Host names that the site answers to."
    )
    csrf_trusted_origins: Annotated[tuple[str, ...], NoDecode] = Field((), description="Origins behind a proxy.")
    site_url: str = Field("", description="Address of the site, for links in messages to people.")
    https: bool | None = Field(
        None, description="Whether the site is reached over https only; unset: unless it answers to this machine only."
    )
    proxy_count: int = Field(0, ge=0, le=5, description="Reverse proxies before the site, whose headers are believed.")
    one_time_codes_required_for: Literal["nothing", "live", "execute"] = Field(
        "nothing", description="What needs a one-time code: `live` orders, or `execute` for all orders."
    )
    private_network_access: bool = Field(
        False, description="Whether allocations and webhooks may go to private addresses."
    )

    api_requests_per_minute: int = Field(120, ge=1, le=100_000, description="Most requests of one API token a minute.")
    metrics_token: SecretStr = Field(
        SecretStr(""), description="Lets a Prometheus of another machine read `/metrics`; this machine needs none."
    )
    keep_runs_days: int = Field(1825, ge=30, description="Runs with their orders are kept for so long.")
    keep_events_days: int = Field(365, ge=30, description="Events without runs and messages are kept for so long.")
    keep_values_days: int = Field(3650, ge=30, description="Account values are kept for so long.")
    broker_queue: Literal["main", "broker"] = Field(
        "main", description="Queue of broker work; `broker` needs a worker with Q_CLUSTER_NAME=broker."
    )
    lease_ttl_seconds: float = Field(30, ge=1, le=600, description="How long a slot's lease lives unrenewed.")
    sweep_seconds: float = Field(15, ge=0.2, le=600, description="How often unfinished runs are woken again.")
    order_settle_seconds: float = Field(
        15, ge=0.1, le=600, description="Age of an unacknowledged order before a look-up can prove it lost."
    )
    fail_points_dir: Path | None = Field(
        None, description="For fault tests only: a directory in which they arm the places that kill a worker."
    )
    simulated_opening_cash_usd: Decimal = Field(
        Decimal(100_000), ge=0, description="Cash of a simulated account that is opened without books."
    )

    @field_validator("allowed_hosts", "csrf_trusted_origins", "notification_urls", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    @field_validator("site_url")
    @classmethod
    def _address(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment):
            message = "SITE_URL is an address such as https://rebalancer.example.org."
            raise ValueError(message)
        return value.rstrip("/")

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("trading_mode", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.strip().lower() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _rehearse_on_paper_only(self) -> Self:
        if self.market_calendar == "always_open" and self.trading_mode != "paper":
            message = "MARKET_CALENDAR=always_open is for rehearsals: it needs TRADING_MODE=paper."
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _never_fail_on_purpose_with_money(self) -> Self:
        if self.fail_points_dir is not None and self.trading_mode != "paper":
            message = "FAIL_POINTS_DIR is for fault tests: it needs TRADING_MODE=paper. Take it out of the environment."
            raise ValueError(message)
        return self

    @property
    def serves_https(self) -> bool:
        """`HTTPS`, else whether anybody but this machine can name the site."""
        return self.https if self.https is not None else not LOOPBACK_NAMES.issuperset(self.allowed_hosts)

    @property
    def ib_port_number(self) -> int:
        """The gateway's port: `IB_PORT`, else the usual one of the trading mode."""
        return self.ib_port or (LIVE_PORT if self.trading_mode == "live" else PAPER_PORT)

    def django_secret_key(self) -> str:
        """`SECRET_KEY`, else one that is made once and kept in `VAR_DIR`, readable by its owner only."""
        if given := self.secret_key.get_secret_value():
            return given
        path = self.var_dir / "secret_key"
        if not path.exists():
            # Written aside and linked, so that of two processes that start together one wins and both read it whole.
            aside = self.var_dir / f"secret_key.{os.getpid()}"
            with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(64))
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(aside)
            aside.unlink()
        return path.read_text(encoding="utf-8")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - our NAME_FILE takes its place
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment first, then the `.env` file; in each, what is named before the file that is named."""
        in_env_file = dotenv_settings.env_vars if isinstance(dotenv_settings, DotEnvSettingsSource) else {}
        return (
            init_settings,
            env_settings,
            _SecretFiles(settings_cls, os.environ),
            dotenv_settings,
            _SecretFiles(settings_cls, in_env_file),
        )


class ConfigurationError(ImproperlyConfigured):
    """A setting is wrong; the message names each that is, without its value."""


def load() -> Environment:
    """Reads the environment and makes sure that `VAR_DIR` is there.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    try:
        environment = Environment()
    except SettingsError as error:
        raise ConfigurationError(str(error.__cause__ or error)) from None
    except ValidationError as error:
        raise ConfigurationError("\n".join(map(_sentence, error.errors(include_input=False)))) from None
    environment.var_dir.mkdir(parents=True, exist_ok=True)
    return environment


def _sentence(problem: ErrorDetails) -> str:
    name = ".".join(map(str, problem["loc"])).upper()
    return f"{name}: {problem['msg']}." if name else problem["msg"].removeprefix("Value error, ")
