"""What one session can pay for: sessions are kept and found by it."""

from dataclasses import astuple, dataclass

from solders.pubkey import Pubkey


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelScope:
    """Payee, token, escrow program and cluster (``"localnet"``, ``"devnet"``, ``"mainnet"``): the payment scope proper.

    The rest narrows it where it is given, and this client always gives it. ``payer``: whose sessions they are, so that
    agents may share a store. ``origin``, scheme, host and port: the proof of a metered session is a bearer token, and
    a host that copies another one's payee must not be shown it. ``offer_id``: a session commits to one price.
    """

    payee: Pubkey
    token: Pubkey
    program: Pubkey
    cluster: str
    payer: Pubkey | None = None
    origin: str = ""
    offer_id: str = ""

    def covers(self, other: "ChannelScope") -> bool:
        """Whether ``other`` agrees in all that this one names."""
        return all(not named or named == part for named, part in zip(_parts(self), _parts(other), strict=True))


def _parts(scope: ChannelScope) -> tuple[str, ...]:
    return tuple("" if part is None else str(part) for part in astuple(scope))
