"""What every part of the client works with: keys, chain, network, rules, records and time, all injected."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import httpx
from solders.pubkey import Pubkey

from retainer.chain.base import Chain
from retainer.chain.confirm import Timer
from retainer.channels.channel import Channel
from retainer.channels.scope import ChannelScope
from retainer.errors import DeclinedError, SessionError
from retainer.flows.offers import Offer
from retainer.flows.preview import Consent, Preview
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.signing import Signer
from retainer.protocol.vouchers import SignedVoucher
from retainer.stores.base import SessionStore, unknown
from retainer.trust.caps import Amount, SpendingCaps, TopUpPolicy
from retainer.trust.pins import Pins
from retainer.wallet import sign_voucher_as

VoucherSigners: TypeAlias = Callable[[ChannelScope, Channel | None], Signer]
"""Picks the key for what a session pays: the session is None where one is about to be opened for that key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """``now`` is Unix seconds.

    ``voucher_signer`` signs vouchers, ``signer`` where it is None. ``deposit`` is what a session gets that opens by
    itself, ``topping_up`` when it gets more. ``allow_custodial``: whether a
    provider may hold deposits itself. ``consent`` is asked before each deposit.
    """

    signer: Signer
    chain: Chain
    http: httpx.AsyncClient
    pins: Pins
    caps: SpendingCaps
    store: SessionStore
    now: Callable[[], int]
    timer: Timer
    voucher_signer: Signer | VoucherSigners | None = None
    deposit: Amount | None = None
    topping_up: TopUpPolicy | None = None
    allow_custodial: bool = False
    consent: Consent | None = None

    @property
    def payer(self) -> Pubkey:
        """Whose sessions these are."""
        return self.signer.pubkey()

    def scope(self, offer: Offer) -> ChannelScope:
        """What a session of this payer's pays for, opened for the offer."""
        return replace(offer.scope, payer=self.payer)

    def signer_for(self, scope: ChannelScope, channel: Channel | None = None) -> Signer:
        """Whose vouchers pay for ``scope``."""
        chosen = self.voucher_signer
        if chosen is None:
            return self.signer
        return chosen(scope, channel) if callable(chosen) else chosen

    def authorized(self, channel: Channel) -> Channel:
        """The session with a voucher that covers the requests noted in it; SessionError for a key that is not its."""

        def sign(cumulative: BaseUnits) -> SignedVoucher:
            signer = self.signer_for(channel.scope, channel)
            signed = sign_voucher_as(signer, channel.address, cumulative)
            if isinstance(channel.authority, SignedVoucher) and signed.signer != channel.authority.signer:
                raise SessionError(
                    f"session {channel.session_id} is paid by vouchers of {channel.authority.signer}, and the voucher "
                    f"signer is {signed.signer}: give the one that it was opened with",
                    channel.session_id,
                )
            return signed

        return channel.authorized(sign)

    async def agree(self, preview: Preview) -> float:
        """Have consent asked, where there is one to ask, before a deposit is signed; DeclinedError where it refuses.

        Returns the seconds that it took: what was read before may be old by then.
        """
        if self.consent is None:
            return 0.0
        asked = self.timer.monotonic()
        if not await self.consent(preview):
            raise DeclinedError("you said no; nothing was signed")
        return self.timer.monotonic() - asked

    async def channel(self, session_id: str) -> Channel:
        """A session of this client; UnknownSessionError when it has none of this id."""
        channel = await self.store.find(self.payer, session_id)
        if channel is None:
            raise unknown(session_id)
        return channel

    async def update(self, session_id: str, change: Callable[[Channel], Channel]) -> Channel:
        """Apply the pure ``change`` to the newest version and keep the result; updates never overlap."""
        return await self.store.update(self.payer, session_id, change)
