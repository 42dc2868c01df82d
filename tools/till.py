"""What transactions cost: landed on a real validator, and read back as it charged for them."""

from dataclasses import dataclass

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from retainer.chain.rpc import RpcChain
from retainer.chain.submit import submit
from retainer.chain.testing import mint_to
from retainer.localnet import LAMPORTS_PER_SOL, airdrop
from retainer.protocol.constants import ED25519_PROGRAM_ID
from retainer.protocol.envelopes import LAMPORTS_PER_SIGNATURE


@dataclass(frozen=True, slots=True)
class Landed:
    """One transaction as the validator charged for it."""

    signature: str
    units: int
    fee: int
    signatures: int
    size: int


@dataclass(frozen=True, slots=True)
class Till:
    """Lands transactions with a test token and reads what each cost; `operator` submits settlements."""

    rpc_url: str
    chain: RpcChain
    authority: Keypair
    mint: Pubkey
    operator: Keypair

    async def land(self, signers: list[Keypair], *instructions: Instruction) -> Landed:
        """Land one transaction and read its cost."""
        signature = await submit(self.chain, instructions, signers)
        landed = await self.chain.transaction(signature)
        if landed is None or landed.compute_units is None:
            raise RuntimeError(f"the validator says nothing of {signature}")
        transaction = VersionedTransaction.from_bytes(landed.raw)
        signed = len(transaction.signatures)
        keys = transaction.message.account_keys
        proven = sum(keys[each.program_id_index] == ED25519_PROGRAM_ID for each in transaction.message.instructions)
        # Surfpool does not charge for signatures that the precompile verifies; mainnet does.
        fee = max(landed.fee, LAMPORTS_PER_SIGNATURE * (signed + proven))
        return Landed(signature, landed.compute_units, fee, signed, len(landed.raw))

    async def funded(self, owner: Keypair, amount: int) -> Pubkey:
        """Lamports and `amount` tokens for `owner`; returns its token account."""
        await airdrop(self.rpc_url, self.chain, owner.pubkey(), LAMPORTS_PER_SOL)
        return await mint_to(self.chain, self.authority, owner=owner.pubkey(), mint=self.mint, amount=amount)

    async def lamports(self, owner: Pubkey) -> int:
        """What `owner` has."""
        account = await self.chain.account(owner)
        return account.lamports if account else 0
