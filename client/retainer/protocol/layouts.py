"""Accounts as bytes: the program's session, and token accounts and mints of both token programs."""

from dataclasses import dataclass
from typing import Final

from construct import Bytes, Const, Int8ul, Int16ul, Int32ul, Int64sl, Int64ul, Struct
from solders.pubkey import Pubkey

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.codec import PUBLIC_KEY, Layout, enum_byte
from retainer.protocol.errors import LayoutError
from retainer.protocol.session import ChainStatus, EscrowKind, SessionAccount

SESSION_VERSION: Final = 1
# The first 8 bytes of the SHA-256 of "account:Session".
SESSION_DISCRIMINATOR: Final = bytes.fromhex("f3514873d6bc4890")

SESSION_LAYOUT: Final = Layout(
    SessionAccount,
    Struct(
        "version" / Const(SESSION_VERSION, Int8ul),
        "bump" / Int8ul,
        "status" / enum_byte(ChainStatus),
        "escrow_kind" / enum_byte(EscrowKind),
        "decimals" / Int8ul,
        Const(bytes(3)),
        "payer" / PUBLIC_KEY,
        "payee" / PUBLIC_KEY,
        "operator" / PUBLIC_KEY,
        "authorized_signer" / PUBLIC_KEY,
        "rent_payer" / PUBLIC_KEY,
        "mint" / PUBLIC_KEY,
        "escrow" / PUBLIC_KEY,
        "salt" / Int64ul,
        "open_slot" / Int64ul,
        "deposit" / Int64ul,
        "settled" / Int64ul,
        "charged_units" / Int64ul,
        "grace_period" / Int32ul,
        Const(bytes(4)),
        "opened_at" / Int64sl,
        "closure_started_at" / Int64sl,
        "price_per_unit" / Int64ul,
        "expires_at" / Int64sl,
        "sla_hash" / Bytes(32),
    ),
    tag=SESSION_DISCRIMINATOR,
)
SESSION_LEN: Final = 352
# What a node can be asked to search by: keys after the discriminator, eight bytes of small fields and the payer.
SESSION_PAYEE_OFFSET: Final = 48
SESSION_OPERATOR_OFFSET: Final = 80


def decode_session(data: bytes) -> SessionAccount:
    """A session account's fields; LayoutError on any other account, version, status or non-zero reserved byte."""
    return SESSION_LAYOUT.decode(data)


def encode_session(account: SessionAccount) -> bytes:
    """The account's 352 bytes."""
    return SESSION_LAYOUT.encode(account)


@dataclass(frozen=True, slots=True)
class TokenAccount:
    """A token account; ``state`` 1 is initialized, 2 frozen; ``extensions`` are Token-2022 type numbers."""

    mint: Pubkey
    owner: Pubkey
    amount: BaseUnits
    delegate: Pubkey | None
    state: int
    close_authority: Pubkey | None
    extensions: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class MintInfo:
    """A mint: its ``decimals``, ``supply`` in base units, and Token-2022 extension type numbers."""

    decimals: int
    supply: BaseUnits
    extensions: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _BaseAccount:
    mint: Pubkey
    owner: Pubkey
    amount: int
    delegate_tag: int
    delegate: Pubkey
    state: int
    native_tag: int
    native: int
    delegated_amount: int
    close_authority_tag: int
    close_authority: Pubkey


@dataclass(frozen=True, slots=True)
class _BaseMint:
    mint_authority_tag: int
    mint_authority: Pubkey
    supply: int
    decimals: int
    initialized: int
    freeze_authority_tag: int
    freeze_authority: Pubkey


_ACCOUNT: Final = Layout(
    _BaseAccount,
    Struct(
        "mint" / PUBLIC_KEY,
        "owner" / PUBLIC_KEY,
        "amount" / Int64ul,
        "delegate_tag" / Int32ul,
        "delegate" / PUBLIC_KEY,
        "state" / Int8ul,
        "native_tag" / Int32ul,
        "native" / Int64ul,
        "delegated_amount" / Int64ul,
        "close_authority_tag" / Int32ul,
        "close_authority" / PUBLIC_KEY,
    ),
)
_MINT: Final = Layout(
    _BaseMint,
    Struct(
        "mint_authority_tag" / Int32ul,
        "mint_authority" / PUBLIC_KEY,
        "supply" / Int64ul,
        "decimals" / Int8ul,
        "initialized" / Int8ul,
        "freeze_authority_tag" / Int32ul,
        "freeze_authority" / PUBLIC_KEY,
    ),
)
# Token-2022 keeps the kind of account behind the longer of both base layouts, then type-length-value entries.
_KIND_OFFSET: Final = _ACCOUNT.size
_KIND_MINT: Final = 1
_KIND_ACCOUNT: Final = 2
# A multisig has this length under both programs; Token-2022 pads its accounts so that they never do.
_MULTISIG_LEN: Final = 355
_TLV_HEADER: Final = Struct("type" / Int16ul, "length" / Int16ul)


def decode_token_account(data: bytes) -> TokenAccount:
    """An initialized token account of either token program, whose owner the caller has checked; else LayoutError."""
    base = _ACCOUNT.decode(data[: _ACCOUNT.size])
    if base.state not in (1, 2):
        raise LayoutError("the token account is not initialized")
    return TokenAccount(
        mint=base.mint,
        owner=base.owner,
        amount=BaseUnits(base.amount),
        delegate=_option(base.delegate_tag, base.delegate),
        state=base.state,
        close_authority=_option(base.close_authority_tag, base.close_authority),
        extensions=_extensions(data, _ACCOUNT.size, _KIND_ACCOUNT),
    )


def decode_mint(data: bytes) -> MintInfo:
    """An initialized mint of either token program, whose owner the caller has checked; else LayoutError."""
    base = _MINT.decode(data[: _MINT.size])
    if base.initialized != 1:
        raise LayoutError("the mint is not initialized")
    return MintInfo(base.decimals, BaseUnits(base.supply), _extensions(data, _MINT.size, _KIND_MINT))


def _option(tag: int, key: Pubkey) -> Pubkey | None:
    if tag not in (0, 1):
        raise LayoutError("an optional key of a token account is neither absent nor present")
    return key if tag else None


def _extensions(data: bytes, base_size: int, kind: int) -> tuple[int, ...]:
    """The extension types of a Token-2022 account in order; none when it is only its base long."""
    if len(data) == base_size:
        return ()
    if len(data) <= _KIND_OFFSET or len(data) == _MULTISIG_LEN or data[_KIND_OFFSET] != kind:
        raise LayoutError("this is another kind of token program account")
    if any(data[base_size:_KIND_OFFSET]):
        raise LayoutError("a mint's padding is not zero")
    entries, found = data[_KIND_OFFSET + 1 :], list[int]()
    while entries and any(entries):
        if len(entries) < _TLV_HEADER.sizeof():
            raise LayoutError("a token extension is cut short")
        header = _TLV_HEADER.parse(entries)
        entries = entries[_TLV_HEADER.sizeof() :]
        if header["type"] == 0 or len(entries) < header["length"]:
            raise LayoutError("a token extension is malformed")
        found.append(int(header["type"]))
        entries = entries[header["length"] :]
    return tuple(found)
