"""What the operator decides: one TOML file, its scalars overridable by RETAINER_PROVIDER_... variables.

Contradictory or weak settings are refused here, at start, with a sentence (F26, F28).
"""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct, field
from solders.pubkey import Pubkey

from retainer.protocol.constants import (
    MAX_CREDENTIAL_BYTES,
    PROGRAM_ID,
    Network,
)
from retainer.protocol.errors import RetainerError
from retainer_provider.offer_settings import OfferSettings, RouteSettings
from retainer_provider.people_settings import FreeTierSettings, PanelSettings
from retainer_provider.responder_settings import CardSettings, ResponderSettings, require_responders

ENVIRONMENT_PREFIX: Final = "RETAINER_PROVIDER_"

_DATABASE: Final = "retainer.sqlite"
_LARGEST_PORT: Final = 65_535
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_PLACEHOLDER_REALMS: Final = frozenset(
    {"", "realm", "changeme", "change-me", "default", "example.com", "api.example.com"}
)
_REALM: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+\Z")
_PATH: Final = re.compile(r"/[\x21-\x7e]*\Z")

Positive = Annotated[int, Meta(ge=1)]
Bytes = Annotated[int, Meta(ge=1, le=2**31 - 1)]
PerSecond = Annotated[int, Meta(ge=0, le=1_000_000)]
Seconds = Annotated[int, Meta(ge=1, le=3600)]


class SettingsError(RetainerError):
    """Settings that cannot be served; the text names the setting and says what to write instead."""


class KeySource(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[service.operator], [service.sponsor]: where a key lies: a file, a variable of the environment, or a command."""

    file: Path | None = None
    env: str | None = None
    command: tuple[str, ...] = ()
    public_key: Pubkey | None = None
    timeout_seconds: Annotated[int, Meta(ge=1, le=60)] = 10

    def __post_init__(self) -> None:
        if [self.file is not None, self.env is not None, bool(self.command)].count(True) != 1:
            raise ValueError("a key is in one place: set `file`, `env` or `command`, and not two of them")
        if bool(self.command) != (self.public_key is not None):
            raise ValueError("`public_key` goes with `command`, whose signatures are verified against it")

    @property
    def key(self) -> Pubkey:
        """The public key of a command's."""
        if self.public_key is None:
            raise SettingsError("`public_key` goes with `command`, whose signatures are verified against it")
        return self.public_key

    def __repr__(self) -> str:
        return "KeySource(...)"  # a command's arguments may hold secrets (F27)


class ServiceSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[service]: who this service is and what it stands on. Paths are relative to the settings file."""

    realm: str
    network: Network
    rpc_url: str | tuple[str, ...]
    database: Path
    operator_keypair: Path | None = None
    operator: KeySource | None = None
    sponsor: KeySource | None = None
    sponsor_keypair: Path | None = None
    refund_keypair: Path | None = None
    sponsor_fee: Positive = 20_000
    rpc_quorum: Annotated[int, Meta(ge=1, le=5)] = 1
    ws_url: str | None = None
    secret: str | None = None
    secret_file: Path | None = None
    program_id: Pubkey = PROGRAM_ID
    payee: Pubkey | None = None
    commitment: Literal["confirmed", "finalized"] = "confirmed"
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=_LARGEST_PORT)] = 8402
    upstream: str | None = None
    api_prefix: str = "/api"
    node: str = ""
    challenge_ttl: Annotated[int, Meta(ge=30, le=3600)] = 300
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] = "console"

    def __post_init__(self) -> None:
        _require_one_place("operator", self.operator_keypair, self.operator)
        _require_one_place("sponsor", self.sponsor_keypair, self.sponsor)
        if self.operator_keypair is None and self.operator is None:
            raise ValueError("`operator_keypair` is missing: the file of the key that signs receipts and settlements")
        if self.realm.lower() in _PLACEHOLDER_REALMS or not _REALM.match(self.realm):
            raise ValueError(
                "`realm` must be this service's own name, such as api.your-domain.org, in ASCII without spaces"
            )
        if not self.rpc_urls:
            raise ValueError("`rpc_url` names no node: give it the URL of one, or a list of URLs")
        for url in self.rpc_urls:
            _require_url("rpc_url", url)
            _require_cluster(self.network, url)
        if self.rpc_quorum > len(set(self.rpc_urls)):
            raise ValueError("`rpc_quorum` cannot be more than the different nodes that `rpc_url` names")
        if self.ws_url is not None:
            _require_url("ws_url", self.ws_url, schemes=("wss", "ws"))
        if self.upstream is not None:
            _require_url("upstream", self.upstream)
            if urlsplit(self.upstream).path not in {"", "/"}:
                raise ValueError("`upstream` is scheme, host and port only: a request's path is forwarded as it came")
        if not _PATH.match(self.api_prefix) or self.api_prefix.endswith("/"):
            raise ValueError('`api_prefix` starts with "/" and does not end with it, such as "/api"')

    @property
    def operator_source(self) -> KeySource:
        """Where the operator's key lies."""
        source = _source(self.operator_keypair, self.operator)
        if source is None:
            raise SettingsError("no operator's key: set `operator_keypair`, or `operator` to where the key lies")
        return source

    @property
    def sponsor_source(self) -> KeySource | None:
        """Where the sponsor's key lies, if there is one."""
        return _source(self.sponsor_keypair, self.sponsor)

    @property
    def rpc_urls(self) -> tuple[str, ...]:
        """The nodes, the preferred one first; one string may hold several, as the environment's does."""
        return tuple(self.rpc_url.split()) if isinstance(self.rpc_url, str) else self.rpc_url

    def __repr__(self) -> str:
        return f"ServiceSettings(realm={self.realm!r}, network={self.network.value!r})"  # never the secret (F27)


class LedgerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[ledger]: books that several processes share. Without it they are the file that `database` names."""

    url: str | None = None
    lease_seconds: Annotated[int, Meta(ge=2, le=300)] = 30
    connections: Annotated[int, Meta(ge=2, le=100)] = 8
    prepared_statements: bool = True
    keep_usage_days: Annotated[int, Meta(ge=2)] | None = None
    archive: Path | None = None

    def __post_init__(self) -> None:
        if self.url is not None and not self.url.startswith(("postgresql://", "postgres://")):
            raise ValueError(
                "`url` is that of a PostgreSQL database, such as postgresql://retainer@db.internal/retainer"
            )

        if (self.keep_usage_days is None) != (self.archive is None):
            raise ValueError("`keep_usage_days` and `archive` go together: usage logs are moved, never just deleted")

    def __repr__(self) -> str:
        return f"LedgerSettings(lease_seconds={self.lease_seconds})"  # the URL may hold a password (F27)


class MetricsSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[metrics]: a port for whoever operates the service; not for clients."""

    address: str | None = None

    def __post_init__(self) -> None:
        if self.address is not None:
            split_address(self.address)


class SettlementSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[settlement]: what landing a settlement may cost, and when a person should look."""

    priority_fee: Annotated[int, Meta(ge=1)] | Literal["none", "auto"] = "none"
    priority_fee_cap: Annotated[int, Meta(ge=0, le=2**40)] = 1_000_000
    pay_for_accounts: bool = False
    alarm_before_seconds: Positive | None = None

    def __post_init__(self) -> None:
        if isinstance(self.priority_fee, int) and self.priority_fee > self.priority_fee_cap:
            raise ValueError("`priority_fee` exceeds `priority_fee_cap`: lower it, or raise the cap")


class LimitSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[limits]: bytes held in memory or kept, seconds waited, and how much at once. 0 a second is no limit."""

    request_body_bytes: Bytes = 1_048_576
    response_body_bytes: Bytes = 16_777_216
    replay_body_bytes: Bytes = 262_144
    replay_session_bytes: Bytes = 8_388_608
    request_body_seconds: Seconds = 30
    request_head_bytes: Annotated[int, Meta(ge=MAX_CREDENTIAL_BYTES, le=1_048_576)] = 65_536
    connections: Positive = 1_000
    connection_seconds: Seconds = 15
    concurrent_requests: Positive = 512
    payer_concurrent_requests: Positive = 256
    payer_requests_per_second: PerSecond = 100
    unpaid_requests_per_second: PerSecond = 50
    upstream_seconds: Seconds = 30
    stream_seconds: Seconds = 600
    deposit_wait_seconds: Seconds = 20
    close_wait_seconds: Seconds = 45
    in_flight_wait_seconds: Seconds = 10
    shutdown_seconds: Seconds = 30

    def __post_init__(self) -> None:
        if self.replay_body_bytes > self.response_body_bytes:
            raise ValueError("`replay_body_bytes` must not exceed `response_body_bytes`: larger answers never leave")


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    service: ServiceSettings
    offers: dict[str, OfferSettings]
    ledger: LedgerSettings = field(default_factory=LedgerSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    settlement: SettlementSettings = field(default_factory=SettlementSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    routes: RouteSettings = field(default_factory=RouteSettings)
    responders: dict[str, ResponderSettings] = field(default_factory=dict)
    cards: CardSettings = field(default_factory=CardSettings)
    panel: PanelSettings = field(default_factory=PanelSettings)
    free_tier: FreeTierSettings = field(default_factory=FreeTierSettings)

    def __post_init__(self) -> None:
        if not self.offers:
            raise ValueError("at least one [offers.NAME] is needed: without it there is nothing to sell")
        require_responders(self.responders, self.offers)
        priced = [(pattern, name) for name, offer in self.offers.items() for pattern in offer.tariffs]
        priced += [(pattern, "routes.free") for pattern in self.routes.free]
        seen: dict[str, str] = {}
        for pattern, name in priced:
            if pattern in seen:
                raise ValueError(f"route {pattern!r} is in both {seen[pattern]} and {name}: give it one price")
            seen[pattern] = name


def load_settings(path: Path, environ: Mapping[str, str] | None = None) -> Settings:
    """Read and check the file at `path`, with what the environment overrides; SettingsError says what to change."""
    environ = os.environ if environ is None else environ
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"cannot read settings {path}: {error.strerror}. `retainer-provider init` writes one"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}") from None
    return settings_from(raw, environ, base=path.parent)


def settings_from(raw: Mapping[str, object], environ: Mapping[str, str], *, base: Path) -> Settings:
    """Check settings already parsed; relative paths are taken from `base`."""
    known = environment_names()
    ours = {name: value for name, value in environ.items() if name.startswith(ENVIRONMENT_PREFIX)}
    if unknown := sorted(ours.keys() - known.keys()):
        raise SettingsError(f"{unknown[0]} is not a setting; those known are {', '.join(known)}")
    service = raw.get("service", {})
    if not isinstance(service, dict):
        raise SettingsError("[service] must be a table")
    # A default like any path: beside the settings file.
    overridden = {"database": _DATABASE, **service, **{known[name]: value for name, value in ours.items()}}
    try:
        return msgspec.convert(
            {**raw, "service": overridden},
            Settings,
            strict=False,
            dec_hook=lambda kind, value: _decode(kind, value, base),
        )
    except msgspec.ValidationError as error:
        raise SettingsError(f"settings: {error}") from None


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT` or `[IPV6]:PORT`; ValueError for anything else."""
    host, _, port = address.rpartition(":")
    inside = host.removeprefix("[").removesuffix("]")
    if not inside or (":" in inside and inside == host) or not port.isascii() or not port.isdigit():
        raise ValueError(f'`address` is a host and a port, such as "127.0.0.1:9464", not {address!r}')
    if int(port) > _LARGEST_PORT:
        raise ValueError(f"`address` has port {port}: the largest is {_LARGEST_PORT}")
    return inside, int(port)


def environment_secret(name: str) -> str | None:
    """What a variable that the settings name holds; read when it is needed, and kept in no settings (F27)."""
    return os.environ.get(name)


def environment_names() -> dict[str, str]:
    """Variable name -> the [service] setting that it overrides."""
    scalars = (name for name in ServiceSettings.__struct_fields__ if name not in {"operator", "sponsor"})
    return {ENVIRONMENT_PREFIX + name.upper(): name for name in scalars}


def _decode(kind: type, value: object, base: Path) -> object:
    if not isinstance(value, str):
        raise ValueError("must be a string")  # noqa: TRY004 - msgspec reports ValueError with the setting's path
    if kind is Pubkey:
        try:
            return Pubkey.from_string(value)
        except ValueError:
            raise ValueError(f"{value!r} is not a base58 public key") from None
    if kind is Path:
        return base / Path(value).expanduser()
    raise NotImplementedError(kind)


def _require_one_place(role: str, keypair: Path | None, source: KeySource | None) -> None:
    if keypair is not None and source is not None:
        raise ValueError(f"`{role}_keypair` and `{role}` both say where a key lies: keep one of them")


def _source(keypair: Path | None, source: KeySource | None) -> KeySource | None:
    return source if keypair is None else KeySource(file=keypair)


def _require_url(name: str, url: str, *, schemes: tuple[str, str] = ("https", "http")) -> None:
    try:
        parts = urlsplit(url)
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        port_fits = False
        parts = urlsplit("")
    if parts.scheme not in schemes or not parts.hostname or not port_fits or parts.fragment:
        raise ValueError(f"`{name}` must be a URL such as {schemes[1]}://127.0.0.1:8899, not {url!r}")


def _require_cluster(network: Network, url: str) -> None:
    host = urlsplit(url).hostname or ""
    for other in Network:
        if other is not network and other is not Network.LOCALNET and other.value in host:
            raise ValueError(f"`rpc_url` {host} looks like {other}, but `network` is {network}: make them agree")
    if network is Network.MAINNET and host not in _LOOPBACK and not url.startswith("https://"):
        raise ValueError("`rpc_url` on mainnet must be https: whoever can change its answers can credit false deposits")
