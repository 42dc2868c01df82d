"""Where the fuzzer plays: two token programs, people with several wallets, and the state beside them."""

import hashlib
from dataclasses import dataclass
from typing import Final

from solders.account import Account
from solders.clock import Clock
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey

from retainer.protocol.constants import PROGRAM_ID, SYSTEM_PROGRAM_ID
from tests.program.fuzzing.model import State, Token
from tests.program.harness.tokens import AccountState, TokenProgram, mint_account, token_account
from tests.program.harness.world import PROGRAM_FILE, START_SLOT, START_TIME

WEALTH: Final = 10**13
"""Base units in every wallet, and lamports of every person."""
WALLETS_EACH: Final = 2


def keypair(name: str) -> Keypair:
    """The key that belongs to this name."""
    return Keypair.from_seed(hashlib.sha256(name.encode()).digest())


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays; that somebody takes another's role is the generator's doing."""

    payers: tuple[Pubkey, ...]
    payees: tuple[Pubkey, ...]
    operators: tuple[Pubkey, ...]
    sponsors: tuple[Pubkey, ...]
    signers: dict[Pubkey, Keypair]
    fees: Pubkey

    @property
    def people(self) -> tuple[Pubkey, ...]:
        """Everybody."""
        return (*self.payers, *self.payees, *self.operators, *self.sponsors, *self.signers, self.fees)


class Arena:
    """The chain without checks of signatures and blockhashes, which only cost time, and what the model knows of it."""

    def __init__(self) -> None:
        self.svm = LiteSVM().with_sigverify(sigverify=False).with_blockhash_check(check=False)
        self.svm.with_transaction_history(0)
        self.svm.add_program_from_file(PROGRAM_ID, PROGRAM_FILE)
        self.blockhash = self.svm.latest_blockhash()
        self.cast = Cast(
            payers=_keys("payer", 3),
            payees=_keys("payee", 3),
            operators=_keys("operator", 2),
            sponsors=_keys("sponsor", 2),
            signers={key.pubkey(): key for key in (keypair(f"signer {at}") for at in range(3))},
            fees=keypair("fees").pubkey(),
        )
        self.mints = {keypair(f"{program.value} {at}").pubkey(): program for program in TokenProgram for at in range(2)}
        self.wallets: dict[tuple[Pubkey, Pubkey], tuple[Pubkey, ...]] = {}
        self.state = State(START_TIME, START_SLOT, {mint: program.id for mint, program in self.mints.items()})
        self._set_clock()
        for person in self.cast.people:
            self.svm.set_account(person, Account(WEALTH, b"", SYSTEM_PROGRAM_ID, executable=False, rent_epoch=0))
        for mint, program in self.mints.items():
            self.svm.set_account(mint, mint_account(program, supply=10**18))
            for person in self.cast.people:
                addresses = _keys(f"wallet of {person} for {mint}", WALLETS_EACH)
                self.wallets[person, mint] = addresses
                for address in addresses:
                    self.put_token(address, Token(program.id, mint, person, WEALTH))

    def get(self, address: Pubkey) -> Account | None:
        """The account, or None where there is none (one without lamports is none)."""
        account = self.svm.get_account(address)
        return account if account is not None and account.lamports else None

    def put_token(self, address: Pubkey, token: Token) -> None:
        """Writes a token account to chain and state, past all rules of the runtime."""
        program = self.mints[token.mint]
        state = AccountState.FROZEN if token.frozen else AccountState.INITIALIZED
        account = token_account(program, token.mint, token.owner, token.amount, state=state)
        old = self.get(address)
        if old is not None:
            extensions = old.data[len(account.data) :]
            account = Account(old.lamports, account.data + extensions, program.id, executable=False, rent_epoch=0)
        self.svm.set_account(address, account)
        self.state.tokens[address] = token

    def jump(self, *, now: int | None = None, slot: int | None = None) -> None:
        """Moves the clock of chain and state."""
        self.state.now = self.state.now if now is None else now
        self.state.slot = self.state.slot if slot is None else slot
        self._set_clock()

    def _set_clock(self) -> None:
        old = self.svm.get_clock()
        self.svm.set_clock(
            Clock(
                slot=self.state.slot,
                epoch_start_timestamp=old.epoch_start_timestamp,
                epoch=old.epoch,
                leader_schedule_epoch=old.leader_schedule_epoch,
                unix_timestamp=self.state.now,
            )
        )


def _keys(name: str, count: int) -> tuple[Pubkey, ...]:
    return tuple(keypair(f"{name} {at}").pubkey() for at in range(count))
