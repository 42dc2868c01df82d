"""What is for sale, as a page shows it: offers with presets, the cluster they are paid on, and what is free."""

from collections.abc import Mapping

from retainer.chain.base import Chain
from retainer.chain.errors import ChainUnavailableError
from retainer.protocol.encoding import Json
from retainer_provider.identity import Identity
from retainer_provider.offers import Offer
from retainer_provider.people.questions import Questions
from retainer_provider.people.views import offer_extras
from retainer_provider.people_settings import FreeTierSettings, PanelSettings
from retainer_provider.responder_settings import ResponderSettings
from retainer_provider.wire.offer_view import offer_json

NO_SOLANA_PAY = "This service has no public HTTPS address, which Solana Pay needs: pay with a wallet in this browser."


class Storefront:
    """Makes the page; the chain is asked once which cluster it is."""

    def __init__(
        self,
        *,
        identity: Identity,
        offers: Mapping[str, Offer],
        panel: PanelSettings,
        free_tier: FreeTierSettings,
        responders: Mapping[str, ResponderSettings],
        questions: Questions,
        chain: Chain,
    ) -> None:
        self._identity = identity
        self._offers = offers
        self._panel = panel
        self._free_tier = free_tier
        self._responders = responders
        self._questions = questions
        self._chain = chain
        self._genesis: str | None = None

    async def page(self) -> dict[str, Json]:
        """The body of `/offers`."""
        us, free = self._identity, self._free_tier
        pays = self._panel.public_url is not None
        people: dict[str, Json] = {"solanaPay": pays, "rpcUrls": [*self._panel.rpc_urls]}
        if not pays:
            people["solanaPayReason"] = NO_SOLANA_PAY
        if free.asks_per_day:
            people["freeTier"] = {"asksPerDay": free.asks_per_day, "routes": [*free.routes]}
        if self._responders:
            people["responders"] = [{"name": name, "offer": one.offer} for name, one in self._responders.items()]
        page: dict[str, Json] = {
            "programId": str(us.program_id),
            "network": str(us.network),
            "realm": us.realm,
            "people": people,
            "offers": [self._offer(offer) for offer in self._offers.values()],
        }
        genesis = await self._cluster()
        return page if genesis is None else {**page, "genesisHash": genesis}

    def _offer(self, offer: Offer) -> dict[str, Json]:
        shown = {**offer_json(offer, self._identity), **offer_extras(offer, self._identity)}
        return {**shown, "ask": self._questions.of(offer)} if shown["people"] else shown

    async def _cluster(self) -> str | None:
        if self._genesis is None:
            try:
                self._genesis = await self._chain.genesis_hash()
            except ChainUnavailableError:
                return None
        return self._genesis
