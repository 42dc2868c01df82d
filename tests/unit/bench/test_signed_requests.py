"""The load of `scripts/bench`: signed beforehand, never repeated; and what is forged fails for its signature alone."""

from itertools import islice

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.protocol.actions import UseAction, VoucherAction
from retainer.protocol.authentication import verify_proof
from retainer.protocol.challenges import Challenge, challenge_header
from retainer.protocol.credentials import Credential, parse_authorization
from retainer.protocol.vouchers import verify_voucher
from tools.bench.load.sessions import Mode, OpenSession, forged_requests, signed_requests

PRICE = 5
CHALLENGE = Challenge("id", "shop.test", "solana", "session", "e30")
PAYER, SIGNER = Keypair.from_seed(b"p" * 32), Keypair.from_seed(b"v" * 32)


def sessions(number: int) -> list[OpenSession]:
    return [
        OpenSession(
            challenge_header(CHALLENGE),
            str(Pubkey(bytes([index]) * 32)),
            bytes(PAYER)[:32].hex(),
            bytes(SIGNER)[:32].hex(),
        )
        for index in range(number)
    ]


def read(line: str) -> tuple[Credential, str]:
    header, key = line.rsplit(" ", 1)
    return parse_authorization(header), key


def verified(credential: Credential) -> bool:
    action = credential.action
    if isinstance(action, UseAction):
        return action.authentication.payer == PAYER.pubkey() and verify_proof(action.authentication, action.channel_id)
    assert isinstance(action, VoucherAction)
    return action.signed.signer == SIGNER.pubkey() and verify_voucher(action.signed)


@pytest.mark.parametrize("mode", Mode)
def test_requests_are_signed_by_their_sessions_in_turn_and_none_is_like_another(mode: Mode) -> None:
    lines = list(islice(signed_requests(sessions(3), mode, PRICE, "run"), 12))
    credentials = [read(line) for line in lines]
    assert len({key for _, key in credentials}) == len(lines)
    assert all(verified(credential) for credential, _ in credentials)
    assert len({str(credential.action.channel_id) for credential, _ in credentials[:3]}) == 3


def test_vouchers_of_a_session_grow_by_the_price() -> None:
    lines = islice(signed_requests(sessions(2), Mode.VOUCHER, PRICE, "run"), 6)
    actions = [read(line)[0].action for line in lines]
    amounts = [action.signed.voucher.cumulative for action in actions if isinstance(action, VoucherAction)]
    assert amounts == [5, 5, 10, 10, 15, 15]


@pytest.mark.parametrize("mode", Mode)
def test_forged_requests_name_the_right_keys_and_do_not_verify(mode: Mode) -> None:
    for credential, _ in map(read, islice(forged_requests(sessions(2), mode, PRICE, "run"), 6)):
        action = credential.action
        named = action.authentication.payer if isinstance(action, UseAction) else action.signed.signer  # type: ignore[union-attr]
        assert named == (PAYER if mode is Mode.METERED else SIGNER).pubkey()
        assert not verified(credential)
