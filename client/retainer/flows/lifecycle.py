"""Opening and closing calls: sent to the URL that was challenged, and repeated while their outcome is open."""

from collections.abc import Callable
from typing import Final

import httpx

from retainer.flows.answers import pause_asked
from retainer.flows.offers import Offer
from retainer.flows.setup import Setup
from retainer.protocol.constants import HEADER_CREDENTIAL

_MOST_SILENCES: Final = 3


async def ask_until(
    setup: Setup, offer: Offer, credential: str, *, undecided: Callable[[httpx.Response], bool], seconds: float
) -> httpx.Response | None:
    """The first answer that is not ``undecided``, or None after ``seconds`` or three lost connections.

    The same credential every time, so that a service which has seen it continues where it was. Redirects are not
    followed: the credential is for the host that issued the challenge.
    """
    give_up_at = setup.timer.monotonic() + seconds
    silent = 0
    while True:
        response = await _try(setup.http, offer, credential)
        if response is not None and not undecided(response):
            return response
        silent += response is None
        pause = pause_asked(response)
        if silent == _MOST_SILENCES or setup.timer.monotonic() + pause > give_up_at:
            return None
        await setup.timer.sleep(pause)


async def _try(http: httpx.AsyncClient, offer: Offer, credential: str) -> httpx.Response | None:
    # These calls have an answer to read and no body of their own.
    method = "GET" if offer.method == "HEAD" else offer.method
    headers = {HEADER_CREDENTIAL: credential}
    try:
        return await http.request(method, offer.url, headers=headers, auth=None, follow_redirects=False)
    except httpx.TransportError:
        return None
