"""A deployed program as the chain has it: its bytes, and who may still change them (C40)."""

from dataclasses import dataclass, field
from typing import Final

from solders.pubkey import Pubkey

from retainer.chain.base import AccountInfo, Chain
from retainer.chain.errors import ForeignAccountError

_LOADER_V2: Final = Pubkey.from_string("BPFLoader2111111111111111111111111111111111")
LOADER_V3: Final = Pubkey.from_string("BPFLoaderUpgradeab1e11111111111111111111111")
_PROGRAM_STATE_BYTES: Final = 36  # u32 tag 2, then the address of the program's data
_PROGRAM_TAG: Final = b"\x02\0\0\0"
_DATA_TAG: Final = b"\x03\0\0\0"
_AUTHORITY: Final = 12  # after the u32 tag and the u64 slot: an optional key
_DATA_HEADER: Final = 45


@dataclass(frozen=True, slots=True)
class DeployedProgram:
    """`code` is followed by zeros where its account is larger. Without `upgrade_authority` nobody can change it."""

    address: Pubkey
    code: bytes = field(repr=False)
    upgrade_authority: Pubkey | None

    def runs(self, expected: bytes) -> bool:
        """Whether these are the expected bytes, all of them and nothing after."""
        return self.code[: len(expected)] == expected and not any(self.code[len(expected) :])


async def deployed_program(chain: Chain, address: Pubkey) -> DeployedProgram | None:
    """What is deployed there; None when nothing is, ForeignAccountError when it is something else."""
    info = await chain.account(address)
    if info is None:
        return None
    if info.owner == _LOADER_V2:
        return DeployedProgram(address, info.data, None)
    if info.owner != LOADER_V3 or not info.data.startswith(_PROGRAM_TAG) or len(info.data) != _PROGRAM_STATE_BYTES:
        raise ForeignAccountError(f"{address} is no program: its account belongs to {info.owner}")
    held = await chain.account(Pubkey.from_bytes(info.data[-Pubkey.LENGTH :]))
    if held is None or held.owner != LOADER_V3 or not held.data.startswith(_DATA_TAG):
        raise ForeignAccountError(f"program {address} has been closed: deploy it at a new address")
    return DeployedProgram(address, held.data[_DATA_HEADER:], _authority(held))


def _authority(held: AccountInfo) -> Pubkey | None:
    if not held.data[_AUTHORITY]:
        return None
    return Pubkey.from_bytes(held.data[_AUTHORITY + 1 : _DATA_HEADER])
