"""Where a session's money is held, as the caller's own node sees it: in the program's escrow, or with the provider."""

from dataclasses import dataclass
from typing import Final, Protocol

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from retainer.chain.base import Chain
from retainer.chain.sessions import session_account
from retainer.channels.channel import Channel, Settlement
from retainer.flows.settlements import find_settlement
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.constants import OPEN_SLOT_WINDOW, TOKEN_PROGRAM_ID
from retainer.protocol.instructions import top_up
from retainer.protocol.pda import derive_ata
from retainer.protocol.receipts import Receipt
from retainer.protocol.session import ChainStatus, SessionAccount
from retainer.protocol.transfers import Transfer, find_refund

_HISTORY: Final = 100


@dataclass(frozen=True, slots=True)
class Standing:
    """A session that takes more: what is deposited (base units), and its end in Unix seconds, 0 for none."""

    deposit: BaseUnits
    expires_at: int
    account: SessionAccount | None = None


class Holding(Protocol):
    """What can be known of a deposit without asking the service. ChainUnavailableError where the node is silent."""

    async def account(self) -> SessionAccount | None:
        """The session's account; None where it is gone, or where there never is one."""
        ...

    async def arrived(self) -> bool:
        """Whether the opening deposit has left the payer."""
        ...

    async def may_still_land(self) -> bool:
        """Whether an opening that has not arrived still can."""
        ...

    async def standing(self, payer: Pubkey) -> Standing | None:
        """What a top-up would add to; None where the session takes none."""
        ...

    def addition(self, standing: Standing, payer: Pubkey, amount: BaseUnits, token_program: Pubkey) -> Instruction:
        """What adds ``amount`` to it."""
        ...

    async def ended(self, receipt: Receipt | None = None) -> Settlement | None:
        """How the session ended; ``receipt``, which has been checked, may point at it. None while unknown."""
        ...


def holding_of(chain: Chain, channel: Channel) -> Holding:
    """Where the money of this session is."""
    return Escrowed(chain, channel) if channel.offer.request.anchor_on_chain else Entrusted(chain, channel)


@dataclass(frozen=True, slots=True)
class Escrowed:
    """In the program's escrow: its account says it all."""

    chain: Chain
    channel: Channel

    async def account(self) -> SessionAccount | None:
        """See ``Holding``."""
        program = self.channel.offer.request.channel_program
        return await session_account(self.chain, self.channel.address, program_id=program)

    async def arrived(self) -> bool:
        """See ``Holding``."""
        return await self.account() is not None

    async def may_still_land(self) -> bool:
        """The program bounds the age of the slot that was signed."""
        return await self.chain.slot() <= (self.channel.offer.request.recent_slot or 0) + OPEN_SLOT_WINDOW

    async def standing(self, payer: Pubkey) -> Standing | None:
        """See ``Holding``."""
        account = await self.account()
        if account is None or account.status is not ChainStatus.OPEN or account.payer != payer:
            return None
        return Standing(account.deposit, account.expires_at, account)

    def addition(self, standing: Standing, payer: Pubkey, amount: BaseUnits, token_program: Pubkey) -> Instruction:
        """The program's ``top_up``."""
        request, account = self.channel.offer.request, standing.account
        if account is None:
            raise ValueError("the standing of an escrowed session has its account")
        return top_up(
            payer=payer,
            session=self.channel.address,
            payer_token=derive_ata(payer, account.mint, token_program),
            escrow=account.escrow,
            mint=account.mint,
            amount=amount,
            token_program=token_program,
            program_id=request.channel_program,
        )

    async def ended(self, receipt: Receipt | None = None) -> Settlement | None:
        """The transaction that removed the account."""
        return await find_settlement(
            self.chain,
            self.channel.address,
            self.channel.offer.request.channel_program,
            deposit=self.channel.deposit,
            hint=None if receipt is None else receipt.tx_hash,
        )


@dataclass(frozen=True, slots=True)
class Entrusted:
    """With the provider: the chain knows the transfers that name the session, and nothing makes the last one come."""

    chain: Chain
    channel: Channel

    async def account(self) -> SessionAccount | None:
        """There never is one."""
        return None

    async def arrived(self) -> bool:
        """See ``Holding``."""
        status = await self.chain.signature_status(self.channel.creation_signature or "")
        return status is not None and status.error is None

    async def may_still_land(self) -> bool:
        """A blockhash lives 150 blocks, which a slot window ten times as wide more than covers."""
        return await self.chain.slot() <= (self.channel.offer.request.recent_slot or 0) + OPEN_SLOT_WINDOW

    async def standing(self, payer: Pubkey) -> Standing | None:
        """By the client's own books: there is nothing else."""
        if payer != self.channel.payer:
            return None
        return Standing(self.channel.deposit, self.channel.offer.expires_at)

    def addition(self, standing: Standing, payer: Pubkey, amount: BaseUnits, token_program: Pubkey) -> Instruction:
        """Another transfer that names the session."""
        request = self.channel.offer.request
        return Transfer(
            session=self.channel.address,
            sender=payer,
            recipient=request.recipient,
            mint=request.currency,
            decimals=request.decimals,
            token_program=token_program,
            amount=amount,
        ).instruction()

    async def ended(self, receipt: Receipt | None = None) -> Settlement | None:
        """The provider's transfer back; without one, its signed word that nothing was left to send."""
        hinted = [] if receipt is None or receipt.tx_hash is None else [receipt.tx_hash]
        named = await self.chain.signatures_for(self.channel.address, limit=_HISTORY)
        for signature in dict.fromkeys([*hinted, *named]):
            refunded = await self._refunded_by(signature)
            if refunded is not None and refunded <= self.channel.deposit:
                return Settlement(signature, BaseUnits(self.channel.deposit - refunded), refunded)
        if receipt is not None and receipt.refunded == 0 and receipt.tx_hash is None:
            return Settlement("", receipt.spent, BaseUnits(0))
        return None

    async def _refunded_by(self, signature: str) -> BaseUnits | None:
        info = await self.chain.transaction(signature)
        if info is None or info.error is not None:
            return None
        request = self.channel.offer.request
        back = Transfer(
            session=self.channel.address,
            sender=request.recipient,
            recipient=self.channel.payer,
            mint=request.currency,
            decimals=request.decimals,
            token_program=request.token_program or TOKEN_PROGRAM_ID,
            amount=BaseUnits(0),
        )
        return find_refund(info.raw, back)
