"""Keys and messages that the kernel's tests share; every key is made of a fixed seed."""

from dataclasses import replace
from typing import Any

from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import Message, MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from retainer.protocol.amounts import base_units
from retainer.protocol.challenges import Challenge, issue_challenge
from retainer.protocol.constants import PROGRAM_ID, Network
from retainer.protocol.instructions import OpenParams, OpenWithTermsParams
from retainer.protocol.offers import RetainerTerms, SessionRequest
from retainer.protocol.pda import derive_ata, derive_session, derive_vault
from retainer.protocol.session import ChainStatus, EscrowKind, SessionAccount
from retainer.protocol.sla import SlaTerms

SECRET = bytes(range(32))
BLOCKHASH = Hash.from_bytes(bytes([5]) * 32)
OPEN_SLOT = 352_114_093


def key(seed: int) -> Keypair:
    return Keypair.from_seed(bytes([seed]) * 32)


PAYER, PAYEE, SIGNER, SPONSOR, STRANGER, OPERATOR = (key(seed) for seed in range(1, 7))
MINT = Pubkey.from_string("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v")
PAYER_TOKEN = derive_ata(PAYER.pubkey(), MINT)

OPEN = OpenParams(
    payer=PAYER.pubkey(),
    rent_payer=PAYER.pubkey(),
    payee=PAYEE.pubkey(),
    mint=MINT,
    authorized_signer=SIGNER.pubkey(),
    salt=42,
    deposit=1_000_000,
    grace_period=900,
    open_slot=OPEN_SLOT,
    payer_token=PAYER_TOKEN,
)
OPEN_WITH_TERMS = OpenWithTermsParams(
    payer=PAYER.pubkey(),
    rent_payer=PAYER.pubkey(),
    payee=PAYEE.pubkey(),
    mint=MINT,
    authorized_signer=SIGNER.pubkey(),
    salt=42,
    deposit=1_000_000,
    grace_period=900,
    open_slot=OPEN_SLOT,
    payer_token=PAYER_TOKEN,
    operator=OPERATOR.pubkey(),
    price_per_unit=8000,
    expires_at=1_900_000_000,
    sla_hash=SlaTerms().hash(),
)
SESSION = derive_session(OPEN.seeds)[0]

ACCOUNT = SessionAccount(
    version=1,
    bump=254,
    status=ChainStatus.OPEN,
    escrow_kind=EscrowKind.VAULT,
    decimals=6,
    payer=PAYER.pubkey(),
    payee=PAYEE.pubkey(),
    operator=OPERATOR.pubkey(),
    authorized_signer=SIGNER.pubkey(),
    rent_payer=PAYER.pubkey(),
    mint=MINT,
    escrow=derive_vault(SESSION)[0],
    salt=42,
    open_slot=OPEN_SLOT,
    deposit=base_units(1_000_000),
    settled=base_units(80_000),
    charged_units=10,
    grace_period=900,
    opened_at=1_800_000_000,
    closure_started_at=0,
    price_per_unit=base_units(8000),
    expires_at=1_900_000_000,
    sla_hash=SlaTerms().hash(),
)

REQUEST = SessionRequest(
    amount=base_units(8000),
    currency=MINT,
    recipient=PAYEE.pubkey(),
    network=Network.LOCALNET,
    channel_program=PROGRAM_ID,
    decimals=6,
    recent_blockhash=BLOCKHASH,
    recent_slot=OPEN_SLOT,
    grace_period_seconds=900,
)
TERMS = RetainerTerms(
    offer_id="basic",
    operator=OPERATOR.pubkey(),
    price=base_units(8000),
    expires_at=1_900_000_000,
    sla=SlaTerms(max_latency_ms=2000),
)


def challenge(**changes: Any) -> Challenge:  # noqa: ANN401 - whatever fields a test changes
    return issue_challenge(SECRET, "api.example.com", replace(REQUEST, **changes), expires="2030-01-01T00:00:00Z")


def signed(
    instructions: list[Instruction], signers: list[Keypair], *, fee_payer: Keypair = PAYER, version: int | None = 0
) -> bytes:
    """A transaction with the signatures of ``signers``; other signers' places hold the empty signature."""
    message = (
        Message.new_with_blockhash(instructions, fee_payer.pubkey(), BLOCKHASH)
        if version is None
        else MessageV0.try_compile(fee_payer.pubkey(), instructions, [], BLOCKHASH)
    )
    return sign_message(message, signers)


def sign_message(message: Message | MessageV0, signers: list[Keypair]) -> bytes:
    by_key = {signer.pubkey(): signer for signer in signers}
    required = list(message.account_keys)[: message.header.num_required_signatures]
    payload = to_bytes_versioned(message)
    signatures = [by_key[k].sign_message(payload) if k in by_key else Signature.default() for k in required]
    return bytes(VersionedTransaction.populate(message, signatures))


def with_account(instruction: Instruction, slot: int, meta: AccountMeta) -> Instruction:
    """The instruction with another account in one slot."""
    accounts = list(instruction.accounts)
    accounts[slot] = meta
    return Instruction(instruction.program_id, instruction.data, accounts)
