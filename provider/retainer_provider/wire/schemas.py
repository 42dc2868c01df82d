"""JSON schemas (2020-12) of what the JSON API and the gate answer themselves, for the OpenAPI document."""

from collections.abc import Iterable, Mapping
from typing import Final

from retainer.protocol.constants import Network
from retainer.protocol.encoding import Json
from retainer.protocol.problems import ProblemType
from retainer.protocol.session import SessionState, VoucherSigner

# "8000": base units, larger than JSON's numbers hold. "0.008": the same for people to read.
_UNITS: Final[Json] = {"type": "string", "pattern": "^(0|[1-9][0-9]{0,19})$"}
_DISPLAY: Final[Json] = {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?$"}
_ADDRESS: Final[Json] = {"type": "string", "pattern": "^[1-9A-HJ-NP-Za-km-z]{32,44}$"}
_SIGNATURE: Final[Json] = {"type": "string", "pattern": "^[1-9A-HJ-NP-Za-km-z]{64,88}$"}
_SECONDS: Final[Json] = {"type": "integer", "minimum": 0}
_COUNT: Final[Json] = {"type": "integer", "minimum": 0}
_TEXT: Final[Json] = {"type": "string"}


def schemas() -> dict[str, Json]:
    """Name -> schema, for `components`."""
    return {
        "Problem": _object(
            {
                "type": {"enum": [str(problem) for problem in ProblemType]},
                "title": _TEXT,
                "detail": _TEXT,
                "status": {"type": "integer"},
            }
        ),
        "Health": _object(
            {
                "status": {"enum": ["ok", "degraded"]},
                "problems": {"type": "object", "additionalProperties": _TEXT},
            }
        ),
        "Alive": _object({"status": {"const": "ok"}}),
        "Offers": _object({"offers": {"type": "array", "items": reference("Offer")}}),
        "Offer": _offer(),
        "Session": _session(),
        "SlaTerms": _object(
            {"version": {"type": "integer"}},
            {
                "maxLatencyMs": {"type": "integer", "minimum": 1},
                "acceptedStatuses": {"type": "array", "items": _TEXT},
                "minBodyBytes": _COUNT,
            },
        ),
    }


def reference(name: str) -> Json:
    """A schema of `components` by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def _offer() -> Json:
    amounts = ("price", "suggestedDeposit", "minimumDeposit")
    return _object(
        {
            "offerId": _TEXT,
            "network": {"enum": [str(network) for network in Network]},
            "programId": _ADDRESS,
            "payee": _ADDRESS,
            "operator": _ADDRESS,
            "token": _token({"tokenProgram": _ADDRESS}),
            **_amounts(amounts),
            "voucherSigner": {"enum": [str(signer) for signer in VoucherSigner]},
            "durationSeconds": _SECONDS,
            "gracePeriodSeconds": _SECONDS,
            "idleTimeoutSeconds": _SECONDS,
            "idleTimeoutOptionsSeconds": {"type": "array", "items": _SECONDS},
            "maxFreeAnswers": _COUNT,
            "slaHash": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
            "routes": {"type": "array", "items": _TEXT},
        },
        {"description": _TEXT, "slaTerms": reference("SlaTerms"), **_amounts(("maximumDeposit",))},
    )


def _session() -> Json:
    return _object(
        {
            "sessionId": _ADDRESS,
            "pda": _ADDRESS,
            "offerId": _TEXT,
            "agent": _ADDRESS,
            "provider": _ADDRESS,
            "operator": _ADDRESS,
            "token": _token({}),
            **_amounts(("deposit", "remaining", "spent", "pricePerRequest")),
            "requestsMade": _COUNT,
            "startedAt": _SECONDS,
            "state": {"enum": [str(state) for state in SessionState]},
            "metadata": {"type": "object", "additionalProperties": _TEXT},
        },
        {
            "requestsLeft": _UNITS,
            "expiresAt": _SECONDS,
            "sla": reference("SlaTerms"),
            "creationSignature": _SIGNATURE,
            "settlementSignature": _SIGNATURE,
            **_amounts(("settled", "refund")),
        },
    )


def _token(also: Mapping[str, Json]) -> Json:
    decimals: Json = {"type": "integer", "minimum": 0, "maximum": 20}
    return _object({"mint": _ADDRESS, "decimals": decimals, **also}, {"symbol": _TEXT})


def _amounts(names: Iterable[str]) -> dict[str, Json]:
    return {name + suffix: schema for name in names for suffix, schema in (("", _UNITS), ("Display", _DISPLAY))}


def _object(required: Mapping[str, Json], optional: Mapping[str, Json] | None = None) -> Json:
    """An object that may have more members: what is new is no break."""
    return {"type": "object", "required": [*required], "properties": {**required, **(optional or {})}}
