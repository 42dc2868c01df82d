"""Rows of the session table as records, and back, in every store. The only place that knows how a field is written."""

import json
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, TypeVar

from msgspec import structs
from solders.pubkey import Pubkey

from retainer.protocol.amounts import BaseUnits
from retainer.protocol.fields import Fields
from retainer.protocol.session import SessionState, VoucherSigner
from retainer.protocol.vouchers import SignedVoucher, voucher_from_json
from retainer_provider.books.records import Custody, NewSession, Parties, SessionRecord

E = TypeVar("E", bound=StrEnum)


# Requests of one session, and sessions of one service, name the same ones again and again.
@lru_cache(maxsize=1024)
def _voucher(text: str | None) -> SignedVoucher | None:
    return None if text is None else voucher_from_json(Fields(json.loads(text), "voucher"))


def _member(kind: type[E]) -> Callable[[str], E]:
    # A table of the few members there are: what an enum does with a value takes five times as long.
    return {str(member): member for member in kind}.__getitem__


_key: Final = lru_cache(maxsize=4096)(Pubkey.from_string)

# What is not written as it is: how to read it back. Written by ``str``, which base58 and decimal text are.
_READ: Final[Mapping[str, Callable[[Any], Any]]] = {
    **dict.fromkeys(
        ("payer", "payee", "operator", "authorized_signer", "rent_payer", "mint", "token_program", "escrow"),
        _key,
    ),
    "salt": int,
    "open_slot": int,
    "voucher_signer": _member(VoucherSigner),
    "state": _member(SessionState),
    "voucher": _voucher,
    "custody": _member(Custody),
}
_FIELDS: Final = SessionRecord.__struct_fields__[:-1]  # all but what running requests hold
_READERS: Final = tuple((_FIELDS.index(name), read) for name, read in _READ.items())
NEW_FIELDS: Final = tuple(NewSession.__dataclass_fields__)
# What may change while a request runs that ends in a charge.
_MOVING: Final = (
    "deposit",
    "state",
    "closure_started_at",
    "spent",
    "units_charged",
    "sequence",
    "free_answers",
    "usage_root",
    "last_activity_at",
    "closing_reason",
    "accepted",
    "voucher",
)
_MOVING_READERS: Final = tuple((_MOVING.index(name), _READ[name]) for name in ("state", "voucher"))

SESSION_COLUMNS: Final = ", ".join(_FIELDS)
"""Select list for ``session_record``."""

_OPEN: Final = "state IN ('pending', 'active', 'closing')"
PARTIES: Final = f"""
  SELECT operator, payee, custody, (
    SELECT session_id FROM session
    WHERE operator = whose.operator AND payee = whose.payee AND custody = whose.custody AND {_OPEN}
    ORDER BY number LIMIT 1
  )
  FROM (SELECT DISTINCT operator, payee, custody FROM session WHERE {_OPEN}) AS whose"""
"""Rows for ``parties_of``."""

MOVING_COLUMNS: Final = ", ".join(_MOVING)
"""Select list for ``moved``."""


def session_record(row: Sequence[Any], reserved: BaseUnits) -> SessionRecord:
    """The record of a row selected by SESSION_COLUMNS, with what running requests hold."""
    values = list(row)
    for index, read in _READERS:
        values[index] = read(values[index])
    values.append(reserved)
    return SessionRecord(*values)


def moved(record: SessionRecord, row: Sequence[Any], reserved: BaseUnits) -> SessionRecord:
    """The record as a row selected by MOVING_COLUMNS has it since a charge, and with what running requests hold now."""
    values = list(row)
    for index, read in _MOVING_READERS:
        values[index] = read(values[index])
    return structs.replace(record, **dict(zip(_MOVING, values, strict=True)), reserved=reserved)


def parties_of(row: Sequence[str]) -> Parties:
    """The parties of a row selected by PARTIES."""
    operator, payee, custody, session_id = row
    return Parties(_key(operator), _key(payee), Custody(custody), session_id)


def session_bindings(new: NewSession) -> dict[str, Any]:
    """A new session's fields by name, as they are written."""
    fields = ((name, getattr(new, name)) for name in NEW_FIELDS)
    return {name: str(value) if name in _READ else value for name, value in fields}
