"""Settings of the Interactive Brokers connector."""

from typing import ClassVar

from pydantic import Field, field_validator

from brokers.broker_types import ConnectorSettings
from brokers.ibkr.times import zone_of


class GatewaySettings(ConnectorSettings):
    """Address of the gateway, and which quotes are requested from it."""

    prefix: ClassVar[str] = "IB_"

    host: str = Field(default="127.0.0.1", description="Host of the IB Gateway.")
    port: int = Field(default=4004, description="Port of the IB Gateway's API.")
    time_zone: str = Field(
        default="", description="Time zone of the gateway, such as America/New_York. Only for times without a zone."
    )
    market_data_type: int = Field(default=1, ge=1, le=4, description="1 live, 2 frozen, 3 delayed, 4 delayed frozen.")
    allow_delayed_quotes: bool = Field(
        default=False, description="Accept delayed quotes where live quotes are missing."
    )

    @field_validator("time_zone")
    @classmethod
    def _zone_exists(cls, name: str) -> str:
        if name:
            zone_of(name)
        return name
