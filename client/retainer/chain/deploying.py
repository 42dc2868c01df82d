"""Deploying a program by Solana's upgradeable loader, in steps that can be interrupted and taken up again.

The bytes are written piece by piece into a buffer account, which then becomes the program's. The buffer's address
follows from payer and bytes, so that whoever asks again finds what was written, and writes only what is missing.
"""

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM_PROGRAM_ID
from solders.system_program import (
    CreateAccountParams,
    CreateAccountWithSeedParams,
    create_account,
    create_account_with_seed,
)
from solders.sysvar import CLOCK, RENT
from solders.transaction import Transaction

from retainer.chain.base import Chain
from retainer.chain.confirm import SystemTimer, Timer, confirm
from retainer.chain.errors import ForeignAccountError, SendOutcomeUnknownError
from retainer.chain.programs import LOADER_V3, deployed_program
from retainer.chain.submit import submit

_INITIALIZE, _WRITE, _DEPLOY = 0, 1, 2  # the loader's instructions
_BUFFER_HEADER: Final = 37
_DATA_HEADER: Final = 45
_PROGRAM_BYTES: Final = 36
_LAMPORTS_A_SIGNATURE: Final = 5_000
# What a transaction has room for beside one signature and its keys.
_PIECE: Final = 960
# Sent together, then waited for: nodes drop what comes too fast.
_AT_ONCE: Final = 32
_ROUNDS: Final = 8
_SEED_CHARACTERS: Final = 32


@dataclass(frozen=True, slots=True)
class Deployment:
    """`code` at the address of `program`; `payer` pays, and may upgrade it from then on."""

    chain: Chain
    payer: Keypair
    program: Keypair
    code: bytes = field(repr=False)
    timer: Timer = field(default_factory=SystemTimer)

    async def lamports_needed(self) -> int:
        """What it still takes from the payer: rent that is not in the buffer yet, and signatures."""
        data, program = [
            await self.chain.minimum_balance(size) for size in (_DATA_HEADER + len(self.code), _PROGRAM_BYTES)
        ]
        buffer = await self.chain.account(self._buffer)
        rent = data + program - (0 if buffer is None else buffer.lamports)
        return rent + (len(self._offsets) + 4) * _LAMPORTS_A_SIGNATURE

    async def run(self, said: Callable[[int, int], None] = lambda _written, _all: None) -> str | None:
        """Deploy, and return the signature of the transaction that made it a program; None where it is there already.

        `said` hears how many pieces are written, of how many. ForeignAccountError where something else is deployed;
        SendOutcomeUnknownError when pieces do not arrive: the same again goes on.
        """
        there = await deployed_program(self.chain, self.program.pubkey())
        if there is not None:
            if there.runs(self.code):
                return None
            raise ForeignAccountError(
                f"another program is deployed at {self.program.pubkey()}: "
                "take a new key, or upgrade it with Solana's own tools"
            )
        if await self.chain.account(self._buffer) is None:
            await submit(self.chain, await self._making_buffer(), [self.payer], clock=self.timer)
        await self._write(said)
        making = await self._making_program()
        return await submit(self.chain, making, [self.payer, self.program], clock=self.timer)

    @property
    def _seed(self) -> str:
        return hashlib.sha256(self.code).hexdigest()[:_SEED_CHARACTERS]

    @property
    def _buffer(self) -> Pubkey:
        return Pubkey.create_with_seed(self.payer.pubkey(), self._seed, LOADER_V3)

    @property
    def _offsets(self) -> range:
        return range(0, len(self.code), _PIECE)

    async def _write(self, said: Callable[[int, int], None]) -> None:
        """Write what the buffer does not have, round after round: a lost transaction shows in its bytes."""
        every = len(self._offsets)
        for _ in range(_ROUNDS):
            info = await self.chain.account(self._buffer)
            held = b"" if info is None else info.data[_BUFFER_HEADER:]
            missing = [at for at in self._offsets if held[at : at + _PIECE] != self.code[at : at + _PIECE]]
            said(every - len(missing), every)
            if not missing:
                return
            for first in range(0, len(missing), _AT_ONCE):
                await self._send(missing[first : first + _AT_ONCE])
                said(every - max(len(missing) - first - _AT_ONCE, 0), every)
        raise SendOutcomeUnknownError(
            f"after {_ROUNDS} rounds pieces of the program are still missing in {self._buffer}; the same again goes on",
            "",
        )

    async def _send(self, offsets: list[int]) -> None:
        latest, payer = await self.chain.latest_blockhash(), self.payer.pubkey()
        accounts = [_account(self._buffer, writable=True), _account(payer, signer=True)]
        sent = []
        for at in offsets:
            piece = self.code[at : at + _PIECE]
            writing = Instruction(LOADER_V3, struct.pack("<IIQ", _WRITE, at, len(piece)) + piece, accounts)
            message = Message.new_with_blockhash([writing], payer, latest.blockhash)
            sent.append(await self.chain.send(bytes(Transaction([self.payer], message, latest.blockhash))))
        for signature in sent:
            # Whatever comes of it, the next round looks at the bytes.
            await confirm(
                self.chain, signature, last_valid_block_height=latest.last_valid_block_height, clock=self.timer
            )

    async def _making_buffer(self) -> list[Instruction]:
        payer, space = self.payer.pubkey(), _BUFFER_HEADER + len(self.code)
        account = CreateAccountWithSeedParams(
            from_pubkey=payer,
            to_pubkey=self._buffer,
            base=payer,
            seed=self._seed,
            lamports=await self.chain.minimum_balance(_DATA_HEADER + len(self.code)),
            space=space,
            owner=LOADER_V3,
        )
        accounts = [_account(self._buffer, writable=True), _account(payer)]
        return [create_account_with_seed(account), Instruction(LOADER_V3, struct.pack("<I", _INITIALIZE), accounts)]

    async def _making_program(self) -> list[Instruction]:
        payer, program = self.payer.pubkey(), self.program.pubkey()
        account = CreateAccountParams(
            from_pubkey=payer,
            to_pubkey=program,
            lamports=await self.chain.minimum_balance(_PROGRAM_BYTES),
            space=_PROGRAM_BYTES,
            owner=LOADER_V3,
        )
        data_address, _ = Pubkey.find_program_address([bytes(program)], LOADER_V3)
        accounts = [
            _account(payer, signer=True, writable=True),
            _account(data_address, writable=True),
            _account(program, writable=True),
            _account(self._buffer, writable=True),
            _account(RENT),
            _account(CLOCK),
            _account(SYSTEM_PROGRAM_ID),
            _account(payer, signer=True),
        ]
        deploying = Instruction(LOADER_V3, struct.pack("<IQ", _DEPLOY, len(self.code)), accounts)
        return [create_account(account), deploying]


def _account(address: Pubkey, *, signer: bool = False, writable: bool = False) -> AccountMeta:
    return AccountMeta(address, is_signer=signer, is_writable=writable)
