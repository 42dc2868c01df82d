"""Custodial openings and top-ups for tests: the shop's, with a plain transfer where the escrow's would be."""

from dataclasses import replace
from typing import Any

from solders.hash import Hash
from solders.instruction import Instruction

from retainer.protocol.actions import TopUpAction
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.credentials import Credential, authorization_header
from retainer.protocol.transfers import Transfer
from tests.shop import Agent, Opening


def custodial(table: dict[str, Any]) -> dict[str, Any]:
    """The shop's settings, its one offer custodial."""
    table["offers"]["standard"]["anchor_on_chain"] = False
    return table


def transfer_of(opening: Opening, **spoiled: object) -> Transfer:
    """The transfer that the opening should carry; ``spoiled`` replaces parts of it."""
    action, params = opening.action, opening.params
    transfer = Transfer(
        session=action.channel_id,
        sender=action.payer,
        recipient=action.payee,
        mint=action.mint,
        decimals=6,
        token_program=params.token_program,
        amount=action.deposit,
    )
    return replace(transfer, **spoiled)  # type: ignore[arg-type]


def carrying(opening: Opening, *instructions: Instruction, blockhash: Hash | None = None, **spoiled: object) -> Opening:
    """The opening with a transfer; ``spoiled`` replaces parts of it, ``instructions`` stand there instead."""
    wanted = list(instructions) or [transfer_of(opening, **spoiled).instruction()]
    recent = blockhash or opening.challenge.session_request().recent_blockhash
    return opening.claiming(transaction=Agent(opening.agent).sign(wanted, recent))


def topping_up(opening: Opening, amount: int, blockhash: Hash, **spoiled: object) -> str:
    """The header that adds to a custodial deposit."""
    transfer = transfer_of(opening, amount=BaseUnits(amount))
    signed = Agent(opening.agent).sign([replace(transfer, **spoiled).instruction()], blockhash)  # type: ignore[arg-type]
    action = TopUpAction(opening.action.channel_id, BaseUnits(amount), signed)
    return authorization_header(Credential(opening.challenge, action))
