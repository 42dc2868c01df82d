"""What the client trusts by name: one network, and the escrow programs on it (C41).

A challenge names the program that is to hold the deposit. Whoever signs for a program because a challenge names it has
given its tokens away, so the names come from here and from the caller, never from the wire.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from solders.pubkey import Pubkey

from retainer.errors import PinError
from retainer.protocol.constants import PAYMENT_CHANNELS_PROGRAM_ID, PROGRAM_ID, Network

_KNOWN_PROGRAMS: Final = {
    Network.LOCALNET: frozenset({PROGRAM_ID}),
    Network.DEVNET: frozenset({PROGRAM_ID}),
    Network.MAINNET: frozenset({PAYMENT_CHANNELS_PROGRAM_ID}),
}


@dataclass(frozen=True, slots=True)
class Pins:
    """One network and the programs trusted on it: by default those that retainer knows."""

    network: Network = Network.LOCALNET
    programs: frozenset[Pubkey] = field(default=frozenset())

    def __post_init__(self) -> None:
        if not self.programs:
            object.__setattr__(self, "programs", _KNOWN_PROGRAMS[self.network])

    def trusting(self, programs: Iterable[Pubkey]) -> "Pins":
        """The same pins and these programs besides."""
        return Pins(self.network, self.programs.union(programs))

    def require(self, network: Network, program: Pubkey) -> None:
        """PinError unless both are trusted."""
        if network is not self.network:
            raise PinError(
                f"the service settles on {network}, and this client is set to {self.network}; "
                f"nothing was signed. Pass Pins(Network.{network.name}) with an RPC of that network to pay there"
            )
        if program not in self.programs:
            raise PinError(
                f"the service wants the deposit held by program {program}, which this client does not trust; "
                "nothing was signed. If you do: Pins().trusting([...])"
            )
