"""Sessions and key-value stores to test stores with."""

from dataclasses import dataclass, field

from solders.hash import Hash
from solders.keypair import Keypair

from retainer.channels.channel import Channel
from retainer.flows.offers import Offer
from retainer.flows.opening import build_opening
from retainer.protocol.amounts import base_units
from retainer.protocol.challenges import issue_challenge
from retainer.protocol.constants import PROGRAM_ID, TOKEN_PROGRAM_ID, Network
from retainer.protocol.offers import RetainerTerms, SessionRequest
from retainer.protocol.session import VoucherSigner
from retainer.protocol.sla import SlaTerms

NOW = 1_800_000_000
PAYEE = Keypair.from_seed(b"p" * 32).pubkey()
MINT = Keypair.from_seed(b"m" * 32).pubkey()
_salts = iter(range(2**32))


def a_channel(agent: Keypair, *, deposit: int = 1_000_000, salt: int | None = None) -> Channel:
    """A session of ``agent``, PENDING, always for the same scope; without ``salt`` at another address each time."""
    salt = next(_salts) if salt is None else salt
    request = SessionRequest(
        amount=base_units(8_000),
        currency=MINT,
        recipient=PAYEE,
        network=Network.LOCALNET,
        channel_program=PROGRAM_ID,
        decimals=6,
        recent_blockhash=Hash.default(),
        recent_slot=1,
        token_program=TOKEN_PROGRAM_ID,
        voucher_signer=VoucherSigner.OPERATOR,
        operator=PAYEE,
        grace_period_seconds=900,
        retainer=RetainerTerms(
            offer_id="standard",
            operator=PAYEE,
            price=base_units(8_000),
            expires_at=NOW + 3600,
            sla=SlaTerms(max_latency_ms=1000),
        ),
    )
    offer = Offer("GET", "http://localhost:8402/ask", issue_challenge(b"s" * 32, "test", request), request)
    return build_opening(offer, agent, deposit=base_units(deposit), salt=salt, token_program=TOKEN_PROGRAM_ID, now=NOW)


@dataclass
class DictKv:
    """A key-value store with plain methods."""

    texts: dict[str, str] = field(default_factory=dict)

    def get(self, key: str) -> str | None:
        return self.texts.get(key)

    def set(self, key: str, value: str) -> None:
        self.texts[key] = value

    def delete(self, key: str) -> None:
        self.texts.pop(key, None)


@dataclass
class AsyncKv:
    """A key-value store with async methods."""

    texts: dict[str, str] = field(default_factory=dict)

    async def get(self, key: str) -> str | None:
        return self.texts.get(key)

    async def set(self, key: str, value: str) -> None:
        self.texts[key] = value

    async def delete(self, key: str) -> None:
        self.texts.pop(key, None)
