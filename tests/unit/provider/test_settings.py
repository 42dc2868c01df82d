import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retainer_provider.settings import SettingsError, load_settings, settings_from
from tests.books import key
from tests.shop import table

Change = Callable[[dict[str, Any]], object]


def checked(change: Change, environ: dict[str, str] | None = None) -> str:
    raw = table(key("mint"))
    change(raw)
    with pytest.raises(SettingsError) as refused:
        settings_from(raw, environ or {}, base=Path())
    return str(refused.value)


def test_the_settings_of_the_shop_are_accepted() -> None:
    settings = settings_from(table(key("mint")), {}, base=Path("/srv/shop"))
    assert settings.service.operator_keypair == Path("/srv/shop/operator.json")
    assert settings.service.database == Path("/srv/shop/retainer.sqlite")
    assert settings.offers["standard"].sla is not None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda raw: raw["service"].update(realm="example.com"), "own name"),
        (lambda raw: raw["service"].update(realm='a"b'), "own name"),
        (lambda raw: raw["service"].update(network="testnet"), "testnet"),
        (lambda raw: raw["service"].update(rpc_url="localhost:8899"), "must be a URL"),
        (lambda raw: raw["service"].update(rpc_url="http://h:99999"), "must be a URL"),
        (lambda raw: raw["service"].update(rpc_url=[]), "names no node"),
        (lambda raw: raw["service"].update(rpc_url=["http://a", "b"]), "must be a URL"),
        (lambda raw: raw["service"].update(rpc_url=["http://a", "http://a"], rpc_quorum=2), "different nodes"),
        (lambda raw: raw["service"].update(ws_url="http://127.0.0.1:8900"), "such as ws://"),
        (lambda raw: raw["service"].update(network="devnet", rpc_url="https://api.mainnet-beta.solana.com"), "agree"),
        (lambda raw: raw["service"].update(network="mainnet", rpc_url="http://rpc.example.org"), "must be https"),
        (lambda raw: raw["service"].update(commitment="processed"), "processed"),
        (lambda raw: raw["service"].update(program_id="nonsense"), "not a base58 public key"),
        (lambda raw: raw["service"].update(upstream="http://127.0.0.1:9/base"), "scheme, host and port only"),
        (lambda raw: raw["service"].update(api_prefix="/api/"), "does not end with it"),
        (lambda raw: raw["service"].update(colour="red"), "colour"),
        (lambda raw: raw["service"].update(challenge_ttl=5), ">= 30"),
        (lambda raw: raw.update(service=3), "must be a table"),
        (lambda raw: raw.update(offers={}), "nothing to sell"),
        (lambda raw: raw["offers"]["standard"].update(grace_period=60), ">= 900"),
        (lambda raw: raw["offers"]["standard"].update(duration=31_536_000), "duration"),
        (lambda raw: raw["offers"]["standard"].update(mint=7), "must be a string"),
        (lambda raw: raw["offers"]["standard"].update(token_program=str(key("other"))), "Token-2022"),
        (lambda raw: raw["offers"]["standard"].update(routes=["paid"]), "holds paths"),
        (lambda raw: raw["offers"]["standard"].update(routes=["/a*b"]), "holds paths"),
        (lambda raw: raw["offers"]["standard"].update(routes=["/a", {"path": "/a", "units": 2}]), "names a path twice"),
        (lambda raw: raw["offers"]["standard"].update(routes=[{"path": "/a", "units": 0}]), "free instead"),
        (lambda raw: raw["offers"]["standard"].update(routes=[{"path": "/a", "units": 5, "max_units": 4}]), "at most"),
        (
            lambda raw: raw["offers"]["standard"].update(routes=[{"path": "/a", "count": "events"}]),
            "how much to reserve",
        ),
        (
            lambda raw: raw["offers"]["standard"].update(routes=[{"path": "/a", "max_units": 4, "count": "x"}]),
            "pointer",
        ),
        (
            lambda raw: raw["offers"]["standard"].update(routes=[{"path": "/a", "max_units": 4, "per_unit": 9}]),
            "something else to count",
        ),
        (lambda raw: raw["offers"]["standard"].update(idle_timeout_options=[9, 8]), "increasing order"),
        (lambda raw: raw["routes"].update(free=["/paid/*"]), "give it one price"),
        (lambda raw: raw["limits"].update(replay_body_bytes=6000), "must not exceed"),
    ],
)
@pytest.mark.row(
    "F28",
    attack="default realm, mainnet node with another network, contradictions",
    twin="the shop's settings are accepted",
)
def test_what_cannot_be_served_is_refused_at_start_with_a_sentence(change: Change, sentence: str) -> None:
    """F28: a service with contradictory settings must not start."""
    assert sentence in checked(change)


def test_the_environment_overrides_the_file() -> None:
    environ = {"RETAINER_PROVIDER_PORT": "99", "RETAINER_PROVIDER_UPSTREAM": "http://127.0.0.1:9000", "HOME": "/x"}
    settings = settings_from(table(key("mint")), environ, base=Path())
    assert (settings.service.port, settings.service.upstream) == (99, "http://127.0.0.1:9000")


def test_the_environment_names_several_nodes_with_spaces_between_them() -> None:
    environ = {"RETAINER_PROVIDER_RPC_URL": "http://a:1 http://b:2", "RETAINER_PROVIDER_RPC_QUORUM": "2"}
    service = settings_from(table(key("mint")), environ, base=Path()).service
    assert (service.rpc_urls, service.rpc_quorum) == (("http://a:1", "http://b:2"), 2)


def test_a_mistyped_variable_is_refused_and_the_known_ones_are_named() -> None:
    sentence = checked(lambda _raw: None, {"RETAINER_PROVIDER_RPCURL": "x"})
    assert re.search(r"RPCURL is not a setting.*RETAINER_PROVIDER_RPC_URL", sentence)


def test_a_file_that_is_missing_or_no_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot read settings .*retainer\.toml.*init"):
        load_settings(tmp_path / "retainer.toml", {})
    (tmp_path / "retainer.toml").write_text("[service")
    with pytest.raises(SettingsError, match="is not TOML"):
        load_settings(tmp_path / "retainer.toml", {})


@pytest.mark.row("F27", attack="settings printed", twin="without the secret")
def test_settings_never_show_the_secret() -> None:
    """F27."""
    settings = settings_from(table(key("mint")), {}, base=Path())
    assert settings.service.secret is not None
    assert settings.service.secret not in repr(settings)
