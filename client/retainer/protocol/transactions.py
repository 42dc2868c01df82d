"""What an agent's deposit transaction really does: the decoded bytes, never the message around them, are the request.

Whoever sponsors such a transaction signs all of it. So it may hold one opening or top-up of this program and nothing
that could use the sponsor's signature, move other funds, or change what the instruction touches.
"""

from dataclasses import dataclass, fields

from solders.hash import Hash
from solders.instruction import Instruction
from solders.pubkey import Pubkey

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.constants import PROGRAM_ID, TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID
from retainer.protocol.envelopes import (
    ComputeBudget,
    Envelope,
    decode_transaction,
    open_envelope,
    require_exact_accounts,
)
from retainer.protocol.errors import LayoutError, TransactionError
from retainer.protocol.instruction_data import (
    DecodedInstruction,
    OpenData,
    OpenWithTermsData,
    TopUpData,
    decode_instruction,
)
from retainer.protocol.instructions import (
    ACCOUNT_NAMES,
    OpenParams,
    OpenWithTermsParams,
    create_ata_idempotent,
    open_session,
    open_with_terms,
    top_up,
)
from retainer.protocol.pda import SessionSeeds, derive_ata, derive_session, derive_vault
from retainer.protocol.sla import NO_TERMS_HASH

__all__ = ["OpenRequest", "TopUpRequest", "decode_transaction", "inspect_open", "inspect_top_up"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequest:
    """One opening. ``signature`` is the transaction's id, None until the fee payer has signed.

    ``missing`` are the signers still to sign: none, or the sponsor alone. ``max_fee`` is in lamports;
    ``batch`` asks the token program to do its part in one call.
    """

    session: Pubkey
    seeds: SessionSeeds
    operator: Pubkey
    rent_payer: Pubkey
    deposit: BaseUnits
    grace_period: int
    price_per_unit: BaseUnits
    expires_at: int
    sla_hash: bytes
    escrow: Pubkey
    payer_token: Pubkey
    token_program: Pubkey
    with_terms: bool
    batch: bool
    fee_payer: Pubkey
    blockhash: Hash
    budget: ComputeBudget
    max_fee: int
    signature: str | None
    signed_by: frozenset[Pubkey]
    missing: tuple[Pubkey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TopUpRequest:
    """One top-up; the fields it shares with ``OpenRequest`` mean the same."""

    session: Pubkey
    payer: Pubkey
    payer_token: Pubkey
    escrow: Pubkey
    mint: Pubkey
    token_program: Pubkey
    amount: BaseUnits
    fee_payer: Pubkey
    blockhash: Hash
    budget: ComputeBudget
    max_fee: int
    signature: str | None
    signed_by: frozenset[Pubkey]
    missing: tuple[Pubkey, ...]


def inspect_open(raw: bytes, *, program_id: Pubkey = PROGRAM_ID) -> OpenRequest:
    """Read a transaction that opens one session of ``program_id`` and does nothing else; TransactionError otherwise.

    The payer must have signed. Whether its numbers and keys are those that were offered is the caller's to compare.
    """
    envelope = open_envelope(raw)
    own = _only_own(envelope, program_id)
    data = _decode(own)
    if not isinstance(data, OpenData | OpenWithTermsData):
        raise TransactionError("the transaction opens no session")
    params = _open_params(data, own)
    with_terms = isinstance(params, OpenWithTermsParams)
    session, _ = derive_session(params.seeds, program_id)
    token = {"mint": params.mint, "token_program": params.token_program}
    companions = [create_ata_idempotent(funder=params.payer, owner=params.payer, **token)]
    if not with_terms:
        companions.append(create_ata_idempotent(funder=params.payer, owner=session, **token))
    operator = params.operator if isinstance(params, OpenWithTermsParams) else params.payee
    _require_only(envelope, own, _build_open(params, program_id), companions)
    _require_token_program(params.token_program)
    _require_sponsor(envelope, params.payer, params.rent_payer)
    if params.payer in (params.payee, operator):
        raise TransactionError("the payer must be neither payee nor operator")
    return OpenRequest(
        session=session,
        seeds=params.seeds,
        operator=operator,
        rent_payer=params.rent_payer,
        deposit=BaseUnits(params.deposit),
        grace_period=params.grace_period,
        price_per_unit=BaseUnits(data.price_per_unit if isinstance(data, OpenWithTermsData) else 0),
        expires_at=data.expires_at if isinstance(data, OpenWithTermsData) else 0,
        sla_hash=data.sla_hash if isinstance(data, OpenWithTermsData) else NO_TERMS_HASH,
        escrow=derive_vault(session, program_id)[0] if with_terms else derive_ata(session, **token),
        payer_token=params.payer_token,
        token_program=params.token_program,
        with_terms=with_terms,
        batch=isinstance(data, OpenWithTermsData) and data.batch,
        fee_payer=envelope.fee_payer,
        blockhash=envelope.blockhash,
        budget=envelope.budget,
        max_fee=envelope.max_fee,
        signature=envelope.signature,
        signed_by=envelope.signed_by,
        missing=envelope.missing,
    )


def inspect_top_up(raw: bytes, *, session: Pubkey, program_id: Pubkey = PROGRAM_ID) -> TopUpRequest:
    """Read a transaction that adds to the deposit of ``session`` and does nothing else; TransactionError otherwise."""
    envelope = open_envelope(raw)
    own = _only_own(envelope, program_id)
    data = _decode(own)
    if not isinstance(data, TopUpData):
        raise TransactionError("the transaction tops up no session")
    slots = _slots("top_up", own)
    if slots["session"] != session:
        raise TransactionError(f"the transaction tops up {slots['session']}, not {session}")
    mint, token_program = slots["mint"], slots["token_program"]
    if slots["escrow"] not in (derive_vault(session, program_id)[0], derive_ata(session, mint, token_program)):
        raise TransactionError("the transaction's escrow account is not the session's")
    rebuilt = top_up(
        payer=slots["payer"],
        session=session,
        payer_token=slots["payer_token"],
        escrow=slots["escrow"],
        mint=mint,
        amount=data.amount,
        token_program=token_program,
        program_id=program_id,
    )
    _require_only(envelope, own, rebuilt, [])
    _require_token_program(token_program)
    _require_sponsor(envelope, slots["payer"], slots["payer"])
    return TopUpRequest(
        session=session,
        payer=slots["payer"],
        payer_token=slots["payer_token"],
        escrow=slots["escrow"],
        mint=mint,
        token_program=token_program,
        amount=BaseUnits(data.amount),
        fee_payer=envelope.fee_payer,
        blockhash=envelope.blockhash,
        budget=envelope.budget,
        max_fee=envelope.max_fee,
        signature=envelope.signature,
        signed_by=envelope.signed_by,
        missing=envelope.missing,
    )


def _only_own(envelope: Envelope, program_id: Pubkey) -> Instruction:
    own = [instruction for instruction in envelope.instructions if instruction.program_id == program_id]
    if len(own) != 1:
        raise TransactionError(f"the transaction has {len(own)} instructions of {program_id}, not one")
    return own[0]


def _decode(own: Instruction) -> DecodedInstruction:
    try:
        return decode_instruction(own.data)
    except LayoutError as error:
        raise TransactionError(str(error)) from None


def _slots(name: str, own: Instruction) -> dict[str, Pubkey]:
    names = ACCOUNT_NAMES[name]
    if len(own.accounts) != len(names):
        raise TransactionError(f"{name} takes {len(names)} accounts, not {len(own.accounts)}")
    return {slot: meta.pubkey for slot, meta in zip(names, own.accounts, strict=True)}


def _open_params(data: OpenData | OpenWithTermsData, own: Instruction) -> OpenParams:
    with_terms = isinstance(data, OpenWithTermsData)
    slots = _slots("open_with_terms" if with_terms else "open", own)
    params = OpenParams(
        payer=slots["payer"],
        rent_payer=slots["rent_payer"],
        payee=slots["payee"],
        mint=slots["mint"],
        authorized_signer=slots["authorized_signer"],
        salt=data.salt,
        deposit=data.deposit,
        grace_period=data.grace_period,
        open_slot=data.open_slot,
        payer_token=slots["payer_token"],
        token_program=slots["token_program"],
    )
    if not isinstance(data, OpenWithTermsData):
        return params
    return OpenWithTermsParams(
        **{field.name: getattr(params, field.name) for field in fields(params)},
        operator=slots["operator"],
        price_per_unit=data.price_per_unit,
        expires_at=data.expires_at,
        sla_hash=data.sla_hash,
        batch=data.batch,
    )


def _build_open(params: OpenParams, program_id: Pubkey) -> Instruction:
    if isinstance(params, OpenWithTermsParams):
        return open_with_terms(params, program_id)
    return open_session(params, program_id)


def _require_only(envelope: Envelope, own: Instruction, rebuilt: Instruction, companions: list[Instruction]) -> None:
    """``own`` must be what its own numbers rebuild to; beside it stand ``companions`` at most, each once."""
    for slot, (given, derived) in enumerate(zip(own.accounts, rebuilt.accounts, strict=True)):
        if given.pubkey != derived.pubkey:
            raise TransactionError(f"account {slot} of the transaction must be {derived.pubkey}, not {given.pubkey}")
    found = [rebuilt]
    for other in envelope.instructions:
        if other is own:
            continue
        match = next((companion for companion in companions if _same(companion, other)), None)
        if match is None:
            raise TransactionError(f"the transaction holds another instruction, of {other.program_id}")
        companions.remove(match)
        found.append(match)
    require_exact_accounts(envelope, tuple(found))


def _same(expected: Instruction, given: Instruction) -> bool:
    # Flags are the message's, merged over all instructions: they are compared there.
    return (expected.program_id, bytes(expected.data), [meta.pubkey for meta in expected.accounts]) == (
        given.program_id,
        bytes(given.data),
        [meta.pubkey for meta in given.accounts],
    )


def _require_token_program(token_program: Pubkey) -> None:
    if token_program not in (TOKEN_PROGRAM_ID, TOKEN_2022_PROGRAM_ID):
        raise TransactionError(f"{token_program} is neither the SPL Token nor the Token-2022 program")


def _require_sponsor(envelope: Envelope, payer: Pubkey, rent_payer: Pubkey) -> None:
    """A sponsor pays the fee and, at most, the rent: it stands nowhere else, and nobody else has still to sign."""
    sponsor = envelope.fee_payer
    if rent_payer not in (payer, sponsor):
        raise TransactionError("the rent must be paid by the payer or by whoever pays the fee")
    if payer not in envelope.signed_by:
        raise TransactionError("the payer has not signed the transaction")
    if sponsor == payer:
        return
    places = sum(meta.pubkey == sponsor for other in envelope.instructions for meta in other.accounts)
    if places != (1 if rent_payer == sponsor else 0):
        raise TransactionError("the fee payer is used for more than paying the fee and the rent")
