"""Raw accounts of SPL Token and Token-2022, for states that honest instructions reach slowly or never."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum

from solders.account import Account
from solders.pubkey import Pubkey

from retainer.protocol.constants import TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID

MINT_LEN = 82
TOKEN_ACCOUNT_LEN = 165
NATIVE_MINT = Pubkey.from_string("So11111111111111111111111111111111111111112")
RENT_EXEMPT_MINT = 20_000_000
RENT_EXEMPT_TOKEN_ACCOUNT = 10_000_000


class TokenProgram(Enum):
    """The two token programs that the escrow serves."""

    SPL = "spl"
    TOKEN_2022 = "token-2022"

    @property
    def id(self) -> Pubkey:
        """The program's address."""
        return TOKEN_PROGRAM_ID if self is TokenProgram.SPL else TOKEN_2022_PROGRAM_ID


class AccountState(IntEnum):
    """The state byte of a token account."""

    UNINITIALIZED = 0
    INITIALIZED = 1
    FROZEN = 2


class Extension(IntEnum):
    """Token-2022's extension types, by their number in the type-length-value area."""

    TRANSFER_FEE_CONFIG = 1
    TRANSFER_FEE_AMOUNT = 2
    MINT_CLOSE_AUTHORITY = 3
    CONFIDENTIAL_TRANSFER_MINT = 4
    CONFIDENTIAL_TRANSFER_ACCOUNT = 5
    DEFAULT_ACCOUNT_STATE = 6
    IMMUTABLE_OWNER = 7
    MEMO_TRANSFER = 8
    NON_TRANSFERABLE = 9
    INTEREST_BEARING_CONFIG = 10
    CPI_GUARD = 11
    PERMANENT_DELEGATE = 12
    NON_TRANSFERABLE_ACCOUNT = 13
    TRANSFER_HOOK = 14
    TRANSFER_HOOK_ACCOUNT = 15
    CONFIDENTIAL_TRANSFER_FEE_CONFIG = 16
    CONFIDENTIAL_TRANSFER_FEE_AMOUNT = 17
    METADATA_POINTER = 18
    TOKEN_METADATA = 19
    GROUP_POINTER = 20
    TOKEN_GROUP = 21
    GROUP_MEMBER_POINTER = 22
    TOKEN_GROUP_MEMBER = 23
    CONFIDENTIAL_MINT_BURN = 24
    SCALED_UI_AMOUNT = 25
    PAUSABLE = 26
    PAUSABLE_ACCOUNT = 27


Tlv = tuple[int, bytes]
"""One extension: its type and its value."""


@dataclass(frozen=True, slots=True)
class Balance:
    """What a token account holds, of what, for whom."""

    mint: Pubkey
    owner: Pubkey
    amount: int


def mint_account(
    program: TokenProgram,
    *,
    decimals: int = 6,
    supply: int = 0,
    mint_authority: Pubkey | None = None,
    freeze_authority: Pubkey | None = None,
    extensions: Sequence[Tlv] = (),
    tail: bytes | None = None,
) -> Account:
    """A mint; `tail` replaces everything after the 82 base bytes (for malformed extension areas)."""
    base = struct.pack(
        "<I32sQBBI32s",
        mint_authority is not None,
        bytes(mint_authority or Pubkey.default()),
        supply,
        decimals,
        1,
        freeze_authority is not None,
        bytes(freeze_authority or Pubkey.default()),
    )
    padding = bytes(TOKEN_ACCOUNT_LEN - MINT_LEN)
    data = base + (tail if tail is not None else _area(padding, 1, extensions))
    return Account(RENT_EXEMPT_MINT, data, program.id, executable=False, rent_epoch=0)


def token_account(
    program: TokenProgram,
    mint: Pubkey,
    owner: Pubkey,
    amount: int,
    *,
    state: AccountState = AccountState.INITIALIZED,
    delegate: Pubkey | None = None,
    delegated: int = 0,
    close_authority: Pubkey | None = None,
    native_reserve: int | None = None,
    extensions: Sequence[Tlv] = (),
    tail: bytes | None = None,
    lamports: int = RENT_EXEMPT_TOKEN_ACCOUNT,
) -> Account:
    """A token account of `amount` base units; `tail` replaces everything after the 165 base bytes."""
    base = struct.pack(
        "<32s32sQI32sBIQQI32s",
        bytes(mint),
        bytes(owner),
        amount,
        delegate is not None,
        bytes(delegate or Pubkey.default()),
        state,
        native_reserve is not None,
        native_reserve or 0,
        delegated,
        close_authority is not None,
        bytes(close_authority or Pubkey.default()),
    )
    data = base + (tail if tail is not None else _area(b"", 2, extensions))
    return Account(lamports, data, program.id, executable=False, rent_epoch=0)


def read_balance(account: Account) -> Balance | None:
    """The balance of an initialized token account of either token program; None for anything else."""
    data = account.data
    if account.owner not in (TOKEN_PROGRAM_ID, TOKEN_2022_PROGRAM_ID) or len(data) < TOKEN_ACCOUNT_LEN:
        return None
    if len(data) > TOKEN_ACCOUNT_LEN and data[TOKEN_ACCOUNT_LEN] != 2:
        return None
    if data[108] == AccountState.UNINITIALIZED:
        return None
    mint, owner, amount = struct.unpack_from("<32s32sQ", data)
    return Balance(Pubkey(mint), Pubkey(owner), amount)


def _area(padding: bytes, account_type: int, extensions: Sequence[Tlv]) -> bytes:
    if not extensions:
        return b""
    entries = b"".join(struct.pack("<HH", kind, len(value)) + value for kind, value in extensions)
    return padding + bytes([account_type]) + entries
