"""The API for people in the OpenAPI document: paths, schemas and examples."""

from collections.abc import Mapping
from typing import Final

from retainer.protocol.encoding import Json
from retainer.protocol.problems import MEDIA_TYPE
from retainer_provider.wire.problems import STATUS_OK
from retainer_provider.wire.schemas import reference

_INVOICE: Final = "mDkq0m5v3p5o9c1d7h2wPg"
_SESSION: Final = "9wFFyRfZBsuAha4YcuxcXLKwMxJR43S7fPfQLusDBzvT"
_WALLET: Final = "7xKXtg2CW87d97TXJSDpbD5jBkheTqA83TZRuJosgAsU"
_TEXT: Final[Json] = {"type": "string"}
_MAYBE: Final[Json] = {"type": ["string", "null"]}
_UNITS: Final[Json] = {"type": "string", "pattern": "^(0|[1-9][0-9]{0,19})$"}
_SECONDS: Final[Json] = {"type": "integer", "minimum": 0}
_ID: Final[Json] = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}

_PROBLEMS: Final[Mapping[str, str]] = {
    "400": "The body, a header or the path is not as described",
    "401": "No session token, or one that is unknown, revoked or another session's",
    "403": "Another site's page made the call",
    "404": "No such invoice, or nothing at this path",
    "408": "The body did not arrive in time",
    "409": "The invoice is over or another wallet's, or the request with this key is still running",
    "413": "The body is too large",
    "422": "The Idempotency-Key was used for another request",
    "429": "This payer, address or token asks too often",
    "502": "The service behind gave no answer",
    "503": "The chain cannot be seen, the books cannot be written, or the service is busy",
}


def people_paths(prefix: str, payment_required: Json) -> dict[str, Json]:
    """Paths below `prefix`; `payment_required` describes a 402."""

    def operation(
        summary: str,
        answers: Mapping[str, Json],
        *,
        body: Json = None,
        parameters: tuple[str, ...] = (),
        token: bool = True,
    ) -> dict[str, Json]:
        told: dict[str, Json] = {
            "summary": summary,
            "parameters": [_parameter(name) for name in parameters],
            "responses": {**answers, "402": payment_required, **_refusals()},
        }
        if body is not None:
            told["requestBody"] = {"required": True, "content": {"application/json": body}}
        return {**told, "security": [{"token": []}]} if token else told

    one, invoice = ("session",), ("invoice",)
    paths: dict[str, dict[str, Json]] = {
        "/sessions": {
            "post": operation(
                "An invoice to fund a session, with the session's token",
                {"201": _json("The invoice", "Invoice", _INVOICE_EXAMPLE)},
                body=_message(
                    {"offer": _TEXT, "amount": _UNITS},
                    {"payer": _TEXT},
                    {"offer": "standard", "amount": "1000000", "payer": _WALLET},
                ),
                token=False,
            )
        },
        "/invoices/{invoice}": {
            "get": operation(
                "An invoice, after a look at the chain", {"200": _json("It", "Invoice")}, parameters=invoice
            )
        },
        "/invoices/{invoice}/payer": {
            "post": operation(
                "Say which wallet pays; the first one stays",
                {"200": _json("The invoice with its transaction", "Invoice")},
                body=_message({"payer": _TEXT}, {}, {"payer": _WALLET}),
                parameters=invoice,
            )
        },
        "/invoices/{invoice}/transaction": {
            "post": operation(
                "Hand over the signed transaction, to be sent by the service",
                {"200": _json("It is paid", "Invoice"), "202": _json("It is on its way", "Invoice")},
                body=_message({"transaction": _TEXT}, {}, {"transaction": "AQAAAA=="}),
                parameters=invoice,
            )
        },
        "/sessions/{session}/request": {
            "post": operation(
                "One request to the service behind, paid by the session",
                {
                    "200": _json(
                        "Its answer, its cost, the receipt and the session", "Answered", _ANSWER_EXAMPLE, flows=True
                    )
                },
                body=_ASKED,
                parameters=(*one, "Idempotency-Key"),
            )
        },
        "/sessions/{session}/topup": {
            "post": operation(
                "An invoice to add to the deposit, with the token that takes the older ones' place",
                {"201": _json("The invoice", "Invoice")},
                body=_message({"amount": _UNITS}, {}, {"amount": "500000"}),
                parameters=one,
            )
        },
        "/sessions/{session}/close": {
            "get": operation("What would go where", {"200": _json("The amounts", "Closing")}, parameters=one),
            "post": operation(
                "Close and settle; again until it is settled",
                {"200": _json("Settled", "Session"), "202": _json("Still closing", "Session")},
                parameters=one,
            ),
        },
        "/sessions/{session}/token/challenge": {
            "post": operation(
                "What the paying wallet signs for a new token",
                {"200": _json("The text", "WalletText")},
                parameters=one,
                token=False,
            )
        },
        "/sessions/{session}/token": {
            "post": operation(
                "A new token against the wallet's signature; the others are revoked",
                {"201": _json("The token, once", "NewToken")},
                body=_message(*_PROOF),
                parameters=one,
                token=False,
            ),
            "delete": operation("Revoke the token", {"204": {"description": "It acts for nobody now"}}, parameters=one),
        },
        "/recover/challenge": {
            "post": operation(
                "What a wallet signs to find its sessions",
                {"200": _json("The text", "WalletText")},
                body=_message({"wallet": _TEXT}, {}, {"wallet": _WALLET}),
                token=False,
            )
        },
        "/recover": {
            "post": operation(
                "A wallet's sessions that are not over",
                {"200": _json("The sessions", "Sessions")},
                body=_message({"wallet": _TEXT, **_PROOF[0]}, {}, {"wallet": _WALLET, **_PROOF[2]}),
                token=False,
            )
        },
        "/ask/preview": {
            "post": operation(
                "What will cover a request, and at what price, before any work",
                {"200": _json("Free asks, the session, or a payment", "Preview", _PREVIEW_EXAMPLE)},
                body=_ASKED,
                token=False,
            )
        },
        "/ask": {
            "post": operation("A free ask", {"200": _json("Its answer", "Answered")}, body=_ASKED, token=False),
        },
        "/pay/{invoice}": {
            "get": operation("Solana Pay: who asks", {"200": _json("Label and icon")}, parameters=invoice, token=False),
            "post": operation(
                "Solana Pay: the transaction to sign",
                {"200": _json("The transaction")},
                body=_message({"account": _TEXT}, {}, {"account": _WALLET}),
                parameters=invoice,
                token=False,
            ),
        },
        "/events": {
            "get": operation(
                "What happens to the session and its invoices, as server-sent events",
                {"200": {"description": "Events, until you leave", "content": {"text/event-stream": {}}}},
                parameters=("Last-Event-ID",),
            )
        },
    }
    return {prefix + path: {**operations} for path, operations in paths.items()}


def people_schemas() -> dict[str, Json]:
    """Name -> schema, for `components`."""
    amount: dict[str, Json] = {"amount": _UNITS, "amountDisplay": _TEXT}
    return {
        "Invoice": _object(
            {
                "invoiceId": _TEXT,
                "kind": {"enum": ["open", "topup"]},
                "state": {"enum": ["waiting", "confirming", "active", "expired", "underpaid", "rejected"]},
                "detail": _TEXT,
                "offer": _TEXT,
                **amount,
                "createdAt": _SECONDS,
                "expiresAt": _SECONDS,
                "payer": _MAYBE,
                "sessionId": _MAYBE,
                "transaction": _MAYBE,
                "submit": {"enum": ["wallet", "post"]},
                "signature": _MAYBE,
                "received": _MAYBE,
                "solanaPayUrl": _MAYBE,
                "solanaPayReason": _MAYBE,
            },
            {"token": _TEXT},
        ),
        "Answered": _object(
            {
                "response": _object(
                    {
                        "status": {"type": "integer"},
                        "headers": {"type": "object", "additionalProperties": _TEXT},
                        "body": _MAYBE,
                        "encoding": {"enum": ["utf-8", "base64"]},
                    }
                ),
                "charge": _object({"kind": {"enum": ["charged", "free", "free-tier"]}, **amount}),
            },
            {"receipt": _TEXT, "session": reference("Session")},
        ),
        "Preview": _object(
            {"coveredBy": {"enum": ["session", "free", "payment", "nothing"]}, "detail": _TEXT},
            {"offer": _TEXT, "price": _UNITS, "fullPrice": _UNITS, "freeLeft": _SECONDS, "requestsLeft": _MAYBE},
        ),
        "Closing": _object(
            {
                "sessionId": _TEXT,
                "state": _TEXT,
                "toProvider": _UNITS,
                "toPayer": _UNITS,
                "payer": _TEXT,
                "detail": _TEXT,
            }
        ),
        "WalletText": _object({"text": _TEXT, "nonce": _TEXT, "expiresAt": _SECONDS}),
        "NewToken": _object({"sessionId": _TEXT, "token": _TEXT}),
        "Sessions": _object({"sessions": {"type": "array", "items": reference("Session")}}),
    }


def _message(required: Mapping[str, Json], optional: Mapping[str, Json], example: Mapping[str, Json]) -> Json:
    return {"schema": _object(required, optional), "example": {**example}}


_PROOF: Final[tuple[Mapping[str, Json], Mapping[str, Json], Mapping[str, Json]]] = (
    {"nonce": _TEXT, "expiresAt": _SECONDS, "signature": _TEXT},
    {},
    {"nonce": "kE0…", "expiresAt": 1_800_000_300, "signature": "pGx…"},
)


def _object(required: Mapping[str, Json], optional: Mapping[str, Json] | None = None) -> Json:
    return {"type": "object", "required": [*required], "properties": {**required, **(optional or {})}}


_ASKED: Final = _message(
    {"method": _TEXT, "path": _TEXT},
    {
        "headers": {"type": "object", "additionalProperties": _TEXT},
        "body": _TEXT,
        "encoding": {"enum": ["utf-8", "base64"]},
        "session": _TEXT,
    },
    {"method": "POST", "path": "/v1/ask", "headers": {"content-type": "application/json"}, "body": '{"question": "…"}'},
)
_INVOICE_EXAMPLE: Final[Json] = {
    "invoiceId": _INVOICE,
    "kind": "open",
    "state": "waiting",
    "detail": "Waiting for your wallet.",
    "offer": "standard",
    "amount": "1000000",
    "amountDisplay": "1",
    "createdAt": 1_800_000_000,
    "expiresAt": 1_800_000_300,
    "payer": _WALLET,
    "sessionId": _SESSION,
    "transaction": "AQAAAA==",
    "submit": "wallet",
    "signature": None,
    "received": None,
    "solanaPayUrl": None,
    "solanaPayReason": "This service has no public HTTPS address, which Solana Pay needs.",
    "token": "k3xV…",
}
_ANSWER_EXAMPLE: Final[Json] = {
    "response": {"status": STATUS_OK, "headers": {"content-type": "text/plain"}, "body": "42", "encoding": "utf-8"},
    "charge": {"kind": "charged", "amount": "8000", "amountDisplay": "0.008", "term": None, "replayed": False},
    "receipt": "eyJ…",
    "session": {"sessionId": _SESSION, "state": "active"},
}
_PREVIEW_EXAMPLE: Final[Json] = {
    "coveredBy": "free",
    "price": "0",
    "fullPrice": "8000",
    "freeLeft": 2,
    "offer": "standard",
    "detail": "This one is free: 2 of 3 free asks are left today.",
}


def _json(description: str, schema: str | None = None, example: Json = None, *, flows: bool = False) -> Json:
    """`flows`: events as well, for whoever accepts them."""
    content: dict[str, Json] = {"schema": {"type": "object"} if schema is None else reference(schema)}
    if example is not None:
        content["example"] = example
    events: dict[str, Json] = {"text/event-stream": {"schema": _TEXT}} if flows else {}
    return {"description": description, "content": {"application/json": content, **events}}


def _parameter(name: str) -> Json:
    if name in {"session", "invoice"}:
        return {"name": name, "in": "path", "required": True, "schema": _ID}
    pattern: Json = {"type": "string", "pattern": "^[\\x21-\\x7e]{1,255}$"}
    return {"name": name, "in": "header", "schema": pattern}


def _refusals() -> dict[str, Json]:
    content: Json = {MEDIA_TYPE: {"schema": reference("Problem")}}
    return {status: {"description": text, "content": content} for status, text in _PROBLEMS.items()}
