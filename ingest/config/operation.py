"""The tables of how the daemon runs: its share of the streams, its end, its log, its HTTP server."""

from ipaddress import ip_address
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ingest.config.fields import Number, Token, Whole, lower
from ingest.config.table import Table

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "json", "console"]


class Shard(Table):
    """`[shard]`: the share of one of several daemons with the same configuration."""

    number: Whole = Field(
        default=1,
        ge=1,
        le=1000,
        description="Which of them this one is, from 1; `ingest run --shard 2/3` sets both.",
        json_schema_extra={"unit": "daemon"},
    )
    of: Whole = Field(
        default=1,
        ge=1,
        le=1000,
        description="How many daemons share the symbols. Each takes its own, with all their channels.",
        json_schema_extra={"unit": "daemons"},
    )

    @property
    def name(self) -> str:
        """As `--shard` has it: `2/3`."""
        return f"{self.number}/{self.of}"

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Self:
        if self.number > self.of:
            raise ValueError(
                f"number ({self.number}) is above of ({self.of}); with of = {self.of} write 1 to {self.of}"
            )
        return self


class Shutdown(Table):
    """`[shutdown]`"""

    deadline_seconds: Number = Field(
        default=20.0,
        ge=0,
        le=3600,
        description="How long `SIGTERM` waits for rows to be delivered; what is left then goes to the spool.",
    )


class Log(Table):
    """`[log]`"""

    level: Annotated[LogLevel, BeforeValidator(lower)] = Field(
        default="info", description="The least level that is written."
    )
    format: Annotated[LogFormat, BeforeValidator(lower)] = Field(
        default="auto", description="`auto` is `console` in a terminal and `json` elsewhere."
    )
    database: bool = Field(
        default=False, description="Also keep warnings and errors of the daemon in the database, in `ingest.logs`."
    )


def _check_bind(text: str) -> str:
    try:
        return "127.0.0.1" if text == "localhost" else str(ip_address(text))
    except ValueError:
        raise ValueError("is no IP address; write 127.0.0.1, ::1, 0.0.0.0 or the address of one interface") from None


class Http(Table):
    """`[http]`: metrics, health and the status page."""

    enabled: bool = Field(default=True, description="Serve `/metrics`, `/live`, `/ready` and the status page.")
    bind: Annotated[str, AfterValidator(_check_bind)] = Field(
        default="127.0.0.1", description="The address to listen at. Any that is not this machine's own wants a token."
    )
    port: Whole = Field(
        default=9464, ge=0, le=65535, description="0: any that is free.", json_schema_extra={"unit": "port"}
    )
    token: Token = Field(
        default=None,
        description="Whoever asks must know it (but for `/live`): 16 to 256 letters, digits, `.`, `_`, `~`, `-`. "
        "A secret. Empty: none.",
    )

    @property
    def is_loopback(self) -> bool:
        return ip_address(self.bind).is_loopback

    @model_validator(mode="after")
    def _others_need_a_token(self) -> Self:
        if self.enabled and not self.is_loopback and self.token is None:
            raise ValueError(
                f"bind = {self.bind} lets other machines in, which needs a token; set http.token "
                "(INGEST_HTTP__TOKEN, INGEST_HTTP__TOKEN_FILE) or bind to 127.0.0.1"
            )
        return self
