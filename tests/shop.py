"""A service and an agent for tests: 0.008 tokens a request, 1.0 suggested, and the messages between the two."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import Transaction

from retainer.chain.base import Chain, Commitment
from retainer.protocol.actions import Action, CloseAction, OpenAction, TopUpAction, UseAction, VoucherAction
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.authentication import SessionProof, sign_proof
from retainer.protocol.challenges import Challenge, parse_challenge_headers
from retainer.protocol.constants import PROGRAM_ID, Network
from retainer.protocol.credentials import Credential, authorization_header
from retainer.protocol.instructions import OpenParams, OpenWithTermsParams, open_session, open_with_terms, top_up
from retainer.protocol.pda import derive_ata, derive_session, derive_vault
from retainer.protocol.vouchers import SignedVoucher, Voucher, sign_voucher
from retainer_provider.catalog import load_offers
from retainer_provider.identity import Identity
from retainer_provider.offers import Offer
from retainer_provider.settings import Settings, settings_from

SECRET = b"0123456789abcdef0123456789abcdef-for-tests-only"
DEPOSIT = 1_000_000
PRICE = 8_000
MINIMUM = 80_000
GRACE = 900
SIGNER = Keypair.from_seed(b"v" * 32)  # of the agent's vouchers


def table(mint: Pubkey, **service: object) -> dict[str, Any]:
    """The settings of the shop as its TOML file would have them."""
    return {
        "service": {
            "realm": "shop.test",
            "network": "localnet",
            "rpc_url": "http://127.0.0.1:8899",
            "operator_keypair": "operator.json",
            "secret": SECRET.decode(),
            **service,
        },
        "offers": {
            "standard": {
                "price": "0.008",
                "mint": str(mint),
                "decimals": 6,
                "suggested_deposit": "1.0",
                "minimum_deposit": "0.08",
                "maximum_deposit": "100",
                "grace_period": GRACE,
                "voucher_signer": "operator",
                "routes": ["/paid/*"],
                "sla": {"max_latency_ms": 2000, "min_body_bytes": 1},
            }
        },
        "routes": {"free": ["/free"]},
        "limits": {"request_body_bytes": 1000, "replay_body_bytes": 500, "response_body_bytes": 5000},
    }


def settings(mint: Pubkey, environ: Mapping[str, str] | None = None, **service: object) -> Settings:
    """The shop's settings, checked."""
    return settings_from(table(mint, **service), environ or {}, base=Path())


def offers(mint: Pubkey) -> Mapping[str, Offer]:
    """The shop's one offer, `standard`."""
    return load_offers(settings(mint).offers)


def identity(operator: Pubkey, payee: Pubkey | None = None, commitment: Commitment = Commitment.CONFIRMED) -> Identity:
    """The shop on chain."""
    return Identity(
        realm="shop.test",
        network=Network.LOCALNET,
        program_id=PROGRAM_ID,
        operator=operator,
        payee=payee or operator,
        commitment=commitment,
    )


@dataclass(frozen=True, kw_only=True)
class Opening:
    """An agent's answer to a challenge, every part open to be spoiled. By default it is honest."""

    agent: Keypair
    challenge: Challenge
    action: OpenAction
    params: OpenWithTermsParams

    @property
    def header(self) -> str:
        return authorization_header(Credential(self.challenge, self.action))

    @property
    def proof(self) -> SessionProof:
        assert self.action.authentication is not None
        return self.action.authentication

    def use(self) -> str:
        """The header of a metered request."""
        return self._header(UseAction(self.action.channel_id, self.proof))

    def close(self) -> str:
        """The header that closes the session."""
        return self._header(CloseAction(self.action.channel_id, self.proof))

    def topping_up(
        self,
        amount: int,
        blockhash: Hash,
        *,
        claimed: int | None = None,
        challenge: Challenge | None = None,
        fee_payer: Pubkey | None = None,
        **spoiled: object,
    ) -> str:
        """The header that adds to the deposit; `spoiled` replaces arguments of its instruction."""
        session = self.action.channel_id
        arguments: dict[str, Any] = {
            "payer": self.agent.pubkey(),
            "session": session,
            "payer_token": self.params.payer_token,
            "escrow": derive_vault(session)[0],
            "mint": self.params.mint,
            "amount": amount,
            "token_program": self.params.token_program,
        }
        signed = Agent(self.agent).sign([top_up(**{**arguments, **spoiled})], blockhash, fee_payer)
        action = TopUpAction(session, BaseUnits(amount if claimed is None else claimed), signed)
        return authorization_header(Credential(challenge or self.challenge, action))

    def paying(self, cumulative: int, *, expires_at: int = 0, signer: Keypair | None = None) -> str:
        """The header of a request paid by a voucher."""
        return self._header(VoucherAction(self.action.channel_id, self._voucher(cumulative, expires_at, signer)))

    def closing(self, cumulative: int, *, expires_at: int = 0, signer: Keypair | None = None) -> str:
        """The header that closes a session of vouchers."""
        signed = self._voucher(cumulative, expires_at, signer)
        return self._header(CloseAction(self.action.channel_id, voucher=signed))

    def _voucher(self, cumulative: int, expires_at: int, signer: Keypair | None) -> SignedVoucher:
        return sign_voucher(Voucher(self.action.channel_id, BaseUnits(cumulative), expires_at), signer or SIGNER)

    def claiming(self, **changes: object) -> "Opening":
        """The same with other claims in the credential."""
        return replace(self, action=replace(self.action, **changes))  # type: ignore[arg-type]

    def self_sent(self, signature: Signature) -> "Opening":
        """The same, pointing at a transaction that the agent sent itself."""
        return self.claiming(transaction=None, signature=signature)

    def _header(self, action: Action) -> str:
        return authorization_header(Credential(self.challenge, action))


@dataclass
class Agent:
    """Someone with tokens who answers challenges."""

    keypair: Keypair
    salt: int = field(default=0)

    @property
    def key(self) -> Pubkey:
        return self.keypair.pubkey()

    def open(
        self,
        challenge: Challenge | str,
        *,
        deposit: int = DEPOSIT,
        stock: bool = False,
        program_id: Pubkey = PROGRAM_ID,
        blockhash: Hash | None = None,
        **spoiled: object,
    ) -> Opening:
        """Answer a challenge (or its header) with a signed transaction; `spoiled` replaces its parameters.

        Where the challenge names a sponsor, that is left to pay fee and rent.
        """
        if isinstance(challenge, str):
            challenge = parse_challenge_headers([challenge])[0]
        request = challenge.session_request()
        assert request.retainer is not None
        assert request.recent_slot is not None
        assert request.grace_period_seconds is not None
        assert request.token_program is not None
        self.salt += 1
        params = OpenWithTermsParams(
            payer=self.key,
            rent_payer=request.fee_payer_key or self.key,
            payee=request.recipient,
            operator=request.retainer.operator,
            mint=request.currency,
            authorized_signer=request.operator or SIGNER.pubkey(),
            salt=self.salt,
            deposit=deposit,
            grace_period=request.grace_period_seconds,
            open_slot=request.recent_slot,
            payer_token=derive_ata(self.key, request.currency, request.token_program),
            token_program=request.token_program,
            price_per_unit=request.amount,
            expires_at=request.retainer.expires_at,
            sla_hash=request.retainer.sla_hash,
        )
        params = replace(params, **spoiled)  # type: ignore[arg-type]
        instruction = open_session(stock_params(params), program_id) if stock else open_with_terms(params, program_id)
        session, _ = derive_session(params.seeds, program_id)
        return Opening(
            agent=self.keypair,
            challenge=challenge,
            params=params,
            action=OpenAction(
                channel_id=session,
                payer=params.payer,
                payee=params.payee,
                mint=params.mint,
                authorized_signer=params.authorized_signer,
                salt=params.salt,
                deposit=BaseUnits(params.deposit),
                grace_period=params.grace_period,
                open_slot=params.open_slot,
                transaction=self.sign([instruction], blockhash or request.recent_blockhash, params.rent_payer),
                authentication=sign_proof(challenge.id, session, self.keypair),
            ),
        )

    def sign(self, instructions: list[Instruction], blockhash: Hash | None, fee_payer: Pubkey | None = None) -> bytes:
        """A transaction that the agent has signed, and pays for unless somebody else is to."""
        assert blockhash is not None
        message = Message.new_with_blockhash(instructions, fee_payer or self.key, blockhash)
        transaction = Transaction.new_unsigned(message)
        transaction.partial_sign([self.keypair], blockhash)
        return bytes(transaction)


def stock_params(params: OpenWithTermsParams) -> OpenParams:
    """The part of the parameters that a stock `open` has."""
    return OpenParams(
        payer=params.payer,
        rent_payer=params.rent_payer,
        payee=params.payee,
        mint=params.mint,
        authorized_signer=params.authorized_signer,
        salt=params.salt,
        deposit=params.deposit,
        grace_period=params.grace_period,
        open_slot=params.open_slot,
        payer_token=params.payer_token,
        token_program=params.token_program,
    )


async def self_sent(chain: Chain, opening: Opening) -> Opening:
    """The opening landed by the agent itself, and pointed at."""
    assert opening.action.transaction is not None
    signature = await chain.send(opening.action.transaction)
    return opening.self_sent(Signature.from_string(signature))
