"""A transaction under test: the instructions around one of ours, who signs, and the ways to bend it by one thing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.protocol.instructions import ACCOUNT_NAMES
from tests.program.harness.world import Durable


@dataclass(frozen=True, slots=True)
class Call:
    """One of our instructions, by its name in ACCOUNT_NAMES, with what stands before and after it."""

    name: str
    instruction: Instruction
    signers: tuple[Keypair, ...]
    before: tuple[Instruction, ...] = ()
    after: tuple[Instruction, ...] = ()
    durable: Durable | None = None

    @property
    def slots(self) -> tuple[str, ...]:
        """The names of the account slots, in order."""
        return tuple(ACCOUNT_NAMES[self.name])

    @property
    def instructions(self) -> tuple[Instruction, ...]:
        """The whole transaction."""
        return (*self.before, self.instruction, *self.after)

    @property
    def data(self) -> bytes:
        """Our instruction's data."""
        return bytes(self.instruction.data)

    def account(self, slot: str) -> Pubkey:
        """The address in a slot."""
        return self.instruction.accounts[self.slots.index(slot)].pubkey

    def with_account(self, slot: str, address: Pubkey) -> "Call":
        """Another address in one slot, its flags kept."""
        return self._edit(slot, lambda meta: AccountMeta(address, meta.is_signer, meta.is_writable))

    def unsigned(self, slot: str) -> "Call":
        """The same without the signature that this slot demands (unless the key signs for another slot)."""
        return self._edit(slot, lambda meta: AccountMeta(meta.pubkey, is_signer=False, is_writable=meta.is_writable))

    def readonly(self, slot: str) -> "Call":
        """The same with the slot's account not writable."""
        return self._edit(slot, lambda meta: AccountMeta(meta.pubkey, meta.is_signer, is_writable=False))

    def with_accounts(self, metas: Sequence[AccountMeta]) -> "Call":
        """Another list of accounts altogether."""
        return replace(self, instruction=Instruction(self.instruction.program_id, self.data, list(metas)))

    def with_data(self, data: bytes) -> "Call":
        """Other instruction data."""
        return replace(self, instruction=Instruction(self.instruction.program_id, data, self.instruction.accounts))

    def signed_by(self, *signers: Keypair) -> "Call":
        """The same with further signatures at hand."""
        return replace(self, signers=(*self.signers, *signers))

    def then(self, *calls: "Call | Instruction") -> "Call":
        """The same transaction with more behind it."""
        tail = tuple(one for call in calls for one in (call.instructions if isinstance(call, Call) else (call,)))
        signers = tuple(key for call in calls if isinstance(call, Call) for key in call.signers)
        return replace(self, after=(*self.after, *tail), signers=(*self.signers, *signers))

    def preceded(self, *instructions: Instruction) -> "Call":
        """The same transaction with more before it (and before the voucher that stands directly before it)."""
        return replace(self, before=(*instructions, *self.before))

    def alone(self) -> "Call":
        """Only our instruction."""
        return replace(self, before=(), after=())

    def _edit(self, slot: str, change: Callable[[AccountMeta], AccountMeta]) -> "Call":
        metas = list(self.instruction.accounts)
        at = self.slots.index(slot)
        metas[at] = change(metas[at])
        return self.with_accounts(metas)
