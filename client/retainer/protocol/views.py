"""A session as the SDK and the JSON API show it: amounts as base-unit strings, with decimals to read beside them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from solders.pubkey import Pubkey

from retainer.protocol import fields
from retainer.protocol.amounts import BaseUnits, format_amount
from retainer.protocol.encoding import Json
from retainer.protocol.fields import Fields
from retainer.protocol.session import SessionState
from retainer.protocol.sla import SlaTerms


@dataclass(frozen=True, slots=True)
class TokenView:
    """The token a session pays in; ``symbol`` only where the mint is known to be that token."""

    mint: Pubkey
    symbol: str | None
    decimals: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionView:
    """One session; times are Unix seconds, amounts base units.

    ``session_id`` and ``pda`` are the same address. ``expires_at`` None means never, ``requests_left`` None that the
    price varies. Without ``anchor_on_chain`` the provider holds the money. ``settled``, ``refund`` and
    ``settlement_signature`` are set once the session is closed; ``credited`` as well where availability fell short,
    and so much of what was spent was not settled.
    """

    session_id: str
    offer_id: str
    agent: Pubkey
    provider: Pubkey
    operator: Pubkey
    token: TokenView
    deposit: BaseUnits
    remaining: BaseUnits
    spent: BaseUnits
    price_per_request: BaseUnits
    requests_made: int
    requests_left: int | None
    started_at: int
    expires_at: int | None
    sla: SlaTerms | None
    state: SessionState
    creation_signature: str | None
    pda: Pubkey
    metadata: Mapping[str, str] = field(default_factory=dict)
    settled: BaseUnits | None = None
    refund: BaseUnits | None = None
    credited: BaseUnits | None = None
    settlement_signature: str | None = None
    anchor_on_chain: bool = True

    def to_json(self) -> dict[str, Json]:
        """The JSON API's object; ``...Display`` members are for people and never read back."""
        amounts = {
            "deposit": self.deposit,
            "remaining": self.remaining,
            "spent": self.spent,
            "pricePerRequest": self.price_per_request,
            "settled": self.settled,
            "refund": self.refund,
            "credited": self.credited,
        }
        known = {name: amount for name, amount in amounts.items() if amount is not None}
        token: dict[str, Json] = {"mint": str(self.token.mint), "decimals": self.token.decimals}
        if self.token.symbol is not None:
            token["symbol"] = self.token.symbol
        return fields.present(
            {
                "sessionId": self.session_id,
                "offerId": self.offer_id,
                "agent": str(self.agent),
                "provider": str(self.provider),
                "operator": str(self.operator),
                "token": token,
                **{name: str(amount) for name, amount in known.items()},
                **{f"{name}Display": format_amount(amount, self.token.decimals) for name, amount in known.items()},
                "requestsMade": self.requests_made,
                "requestsLeft": None if self.requests_left is None else str(self.requests_left),
                "startedAt": self.started_at,
                "expiresAt": self.expires_at,
                "sla": None if self.sla is None else self.sla.to_json(),
                "state": str(self.state),
                "creationSignature": self.creation_signature,
                "pda": str(self.pda),
                "metadata": {**self.metadata},
                "settlementSignature": self.settlement_signature,
                "anchorOnChain": None if self.anchor_on_chain else False,
            }
        )

    @classmethod
    def from_json(cls, value: object) -> "SessionView":
        """Read ``to_json``'s form, unknown fields ignored; MessageError names the bad field."""
        view = Fields(value, "session")
        token = view.inside("token")
        return cls(
            session_id=view.require("sessionId", fields.filled_text),
            offer_id=view.require("offerId", fields.filled_text),
            agent=view.require("agent", fields.pubkey),
            provider=view.require("provider", fields.pubkey),
            operator=view.require("operator", fields.pubkey),
            token=TokenView(
                mint=token.require("mint", fields.pubkey),
                symbol=token.optional("symbol", fields.filled_text),
                decimals=token.require("decimals", fields.integer(0, 20)),
            ),
            deposit=view.require("deposit", fields.units),
            remaining=view.require("remaining", fields.units),
            spent=view.require("spent", fields.units),
            price_per_request=view.require("pricePerRequest", fields.units),
            requests_made=view.require("requestsMade", fields.integer()),
            requests_left=view.optional("requestsLeft", fields.units),
            started_at=view.require("startedAt", fields.integer()),
            expires_at=view.optional("expiresAt", fields.integer(1)),
            sla=view.optional("sla", lambda terms: SlaTerms.from_json(terms, "session.sla")),
            state=view.require("state", fields.member(SessionState)),
            creation_signature=view.optional("creationSignature", fields.filled_text),
            pda=view.require("pda", fields.pubkey),
            metadata=view.require("metadata", fields.text_map),
            settled=view.optional("settled", fields.units),
            refund=view.optional("refund", fields.units),
            credited=view.optional("credited", fields.units),
            settlement_signature=view.optional("settlementSignature", fields.filled_text),
            anchor_on_chain=view.optional("anchorOnChain", fields.flag) is not False,
        )
