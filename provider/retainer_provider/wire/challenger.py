"""Issuing challenges and recognizing them again. Nothing is stored: the HMAC in the id is the memory."""

import asyncio
import contextlib
import secrets
from collections.abc import Sequence
from typing import Any, Final

from solders.pubkey import Pubkey

from retainer.chain.base import Chain, Commitment, LatestBlockhash
from retainer.chain.errors import ChainUnavailableError
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.challenges import Challenge, issue_challenge, verify_challenge_id
from retainer.protocol.errors import MessageError
from retainer.protocol.offers import RetainerTerms, SessionRequest
from retainer.protocol.problems import ProblemType
from retainer.protocol.session import VoucherSigner
from retainer.protocol.sla import SlaTerms
from retainer.protocol.timestamps import format_timestamp
from retainer_provider.books.records import Custody, SessionRecord
from retainer_provider.books.terms import session_terms
from retainer_provider.clock import Clock
from retainer_provider.identity import Identity
from retainer_provider.offers import Offer
from retainer_provider.remembered import Remembered
from retainer_provider.sessions.refusals import refuse

_NONCE_BYTES: Final = 12
_FRESH_SECONDS: Final = 2.0
# A blockhash lives 150 blocks, about a minute: half of it must be left for the client to use.
_USABLE_SECONDS: Final = 30.0


class Challenger:
    """`keys` are the secrets, tried in turn, the first one signs; for `ttl` seconds a challenge may open a session."""

    def __init__(self, *, identity: Identity, keys: Sequence[bytes], chain: Chain, clock: Clock, ttl: int) -> None:
        self._identity = identity
        self._keys = tuple(keys)
        self._chain = chain
        self._clock = clock
        self._ttl = ttl
        self._ours: Remembered[Challenge, SessionRequest] = Remembered()
        self._lock = asyncio.Lock()
        self._asked_at: float | None = None
        self._latest: tuple[float, LatestBlockhash] | None = None

    async def issue(self, offer: Offer, max_units: int = 1) -> Challenge:
        """A challenge for a new session; ChainUnavailableError when the chain has named no recent blockhash."""
        latest = await self.blockhash()
        now = self._clock.now()
        request = self._request(
            offer,
            max_units=max_units,
            price=offer.price,
            expires_at=now + offer.duration,
            sla=offer.sla,
            voucher_signer=offer.voucher_signer,
            recent_blockhash=latest.blockhash,
            recent_slot=latest.slot,
            grace_period_seconds=offer.grace_period,
            idle_timeout_options=offer.idle_timeout_options or None,
            ttl_seconds=offer.duration,
            anchor_on_chain=offer.anchor_on_chain,
        )
        return issue_challenge(self._keys[0], self._identity.realm, request, expires=format_timestamp(now + self._ttl))

    def resume(self, offer: Offer, record: SessionRecord, max_units: int = 1) -> Challenge:
        """A challenge for a session that is open, on the terms it was opened on; it opens no other."""
        request = self._request(
            offer,
            max_units=max_units,
            price=record.price,
            expires_at=record.expires_at,
            sla=session_terms(record),
            voucher_signer=record.voucher_signer,
            channel_id=Pubkey.from_string(record.session_id),
            idle_timeout_seconds=record.idle_timeout,
            anchor_on_chain=record.custody is Custody.ESCROW,
        )
        expires = format_timestamp(self._clock.now() + self._ttl)
        return issue_challenge(self._keys[0], self._identity.realm, request, expires=expires)

    def _request(
        self,
        offer: Offer,
        *,
        max_units: int,
        price: BaseUnits,
        expires_at: int,
        sla: SlaTerms | None,
        voucher_signer: VoucherSigner,
        anchor_on_chain: bool,
        **kind: Any,  # noqa: ANN401 - what only a new channel has, or only a resumed one
    ) -> SessionRequest:
        us = self._identity
        sponsor = us.sponsor if anchor_on_chain else None
        return SessionRequest(
            amount=price,
            currency=offer.mint,
            recipient=us.payee,
            network=us.network,
            channel_program=us.program_id,
            decimals=offer.decimals,
            unit_type="request" if max_units == 1 else "unit",
            suggested_deposit=offer.suggested_deposit,
            minimum_deposit=offer.minimum_deposit,
            description=offer.description,
            # Two challenges of one second would else be the same one.
            external_id=secrets.token_hex(_NONCE_BYTES),
            token_program=offer.token_program,
            fee_payer=sponsor is not None,
            fee_payer_key=sponsor,
            voucher_signer=voucher_signer,
            operator=us.operator if voucher_signer is VoucherSigner.OPERATOR else None,
            anchor_on_chain=anchor_on_chain,
            retainer=RetainerTerms(
                offer_id=offer.id,
                operator=us.operator,
                price=price,
                expires_at=expires_at,
                sla=sla,
                max_units=max_units,
            ),
            **kind,
        )

    def require_ours(self, challenge: Challenge) -> SessionRequest:
        """What an echoed challenge asked for, when this service issued it exactly so, however long ago.

        Each request of a session echoes the same one: what its id was once found to bind, letter by letter, it binds
        for as long as the keys are those of this object.
        """
        known = self._ours.get(challenge)
        if known is not None:
            return known
        ours = challenge.realm == self._identity.realm and verify_challenge_id(challenge, self._keys)
        if ours:
            try:
                request = challenge.session_request()
                self._ours.keep(challenge, request)
                return request
            except MessageError:  # issued by an older version of this service
                pass
        raise refuse(
            ProblemType.INVALID_CHALLENGE,
            "The echoed challenge was not issued by this service, or was changed: echo one exactly as received, "
            "or answer the fresh one.",
        )

    def require_fresh(self, challenge: Challenge) -> None:
        """A challenge opens sessions only until it expires; it serves an open session for ever."""
        expires_at = challenge.expires_at()
        if expires_at is None or self._clock.now() >= expires_at:
            raise refuse(
                ProblemType.CHALLENGE_EXPIRED,
                f"The challenge expired at {challenge.expires}: open the session with the fresh one.",
            )

    async def blockhash(self) -> LatestBlockhash:
        """A blockhash that leaves a client time to sign; ChainUnavailableError when the chain has named none lately."""
        async with self._lock:
            now = self._clock.monotonic()
            if self._asked_at is None or now - self._asked_at >= _FRESH_SECONDS:
                with contextlib.suppress(ChainUnavailableError):  # the last one may do for a while
                    self._latest = (now, await self._chain.latest_blockhash(commitment=Commitment.CONFIRMED))
                # Also after a failure: those who queue behind a node that hangs must not wait for it one by one.
                self._asked_at = self._clock.monotonic()
            if self._latest is None or self._clock.monotonic() - self._latest[0] >= _USABLE_SECONDS:
                raise ChainUnavailableError("the node names no recent blockhash")
            return self._latest[1]
