"""Open sessions as a server process tells its client of them, and requests of them signed beforehand."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import count
from pathlib import Path

from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.protocol.actions import UseAction, VoucherAction
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.authentication import SessionProof, proof_message, sign_proof
from retainer.protocol.challenges import parse_challenge_headers
from retainer.protocol.credentials import Credential, authorization_header
from retainer.protocol.vouchers import SignedVoucher, Voucher, sign_voucher, voucher_bytes


class Mode(StrEnum):
    """Who authorizes amounts."""

    METERED = "metered"
    VOUCHER = "voucher"


@dataclass(frozen=True, slots=True)
class OpenSession:
    """What it takes to ask: the opening challenge's header, the channel, and the seeds (hexadecimal) of both keys."""

    challenge: str
    channel: str
    payer: str
    signer: str


def write_sessions(path: Path, sessions: Sequence[OpenSession]) -> None:
    """The server's side."""
    path.write_text(json.dumps([asdict(session) for session in sessions]), encoding="utf-8")


def read_sessions(path: Path) -> list[OpenSession]:
    """The client's side."""
    return [OpenSession(**session) for session in json.loads(path.read_text(encoding="utf-8"))]


def signed_requests(sessions: Sequence[OpenSession], mode: Mode, price: int, run: str) -> Iterator[str]:
    """Lines for ``once.lua``, each another request, the sessions in turn; ``run`` keeps keys of different runs apart.

    There must be several times as many sessions as connections, so that a session's vouchers arrive in their order.
    """
    keys = (f"{run}-{number}" for number in count())
    if mode is Mode.METERED:
        headers = [_proving(session) for session in sessions]
        while True:
            for header in headers:
                yield f"{header} {next(keys)}"
    signers = [_Signer(session) for session in sessions]
    for cumulative in count(price, price):
        for signer in signers:
            yield f"{signer.paying(cumulative)} {next(keys)}"


def forged_requests(sessions: Sequence[OpenSession], mode: Mode, price: int, run: str) -> Iterator[str]:
    """The same in everything but the signatures, which are another key's over just what should have been signed."""
    for number in count():
        session, thief = sessions[number % len(sessions)], Keypair()
        [challenge] = parse_challenge_headers([session.challenge])
        channel = Pubkey.from_string(session.channel)
        action: UseAction | VoucherAction
        if mode is Mode.METERED:
            payer = Keypair.from_seed(bytes.fromhex(session.payer)).pubkey()
            bad = thief.sign_message(proof_message(challenge.id, channel, payer))
            action = UseAction(channel, SessionProof(challenge.id, payer, bad))
        else:
            voucher = Voucher(channel, BaseUnits(price * (number + 1)))
            signer = Keypair.from_seed(bytes.fromhex(session.signer)).pubkey()
            action = VoucherAction(channel, SignedVoucher(voucher, signer, thief.sign_message(voucher_bytes(voucher))))
        yield f"{authorization_header(Credential(challenge, action))} forged-{run}-{number}"


def _proving(session: OpenSession) -> str:
    [challenge] = parse_challenge_headers([session.challenge])
    channel, payer = Pubkey.from_string(session.channel), Keypair.from_seed(bytes.fromhex(session.payer))
    return authorization_header(Credential(challenge, UseAction(channel, sign_proof(challenge.id, channel, payer))))


class _Signer:
    def __init__(self, session: OpenSession) -> None:
        [self._challenge] = parse_challenge_headers([session.challenge])
        self._channel = Pubkey.from_string(session.channel)
        self._key = Keypair.from_seed(bytes.fromhex(session.signer))

    def paying(self, cumulative: int) -> str:
        signed = sign_voucher(Voucher(self._channel, BaseUnits(cumulative)), self._key)
        return authorization_header(Credential(self._challenge, VoucherAction(self._channel, signed)))
