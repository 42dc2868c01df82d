"""What the books keep for people in browsers: invoices, session tokens, free asks. SQL that both stores speak.

Every method is one transaction, and its guards are inside its statements; where a statement counts rows that others
add, `write` is told what to lock, so that of callers at once each sees the others' rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

from retainer.protocol.amounts import BaseUnits
from retainer_provider.books.records import ledger_amount

Row = Sequence[Any]
Statement = tuple[str, Mapping[str, object]]
"""SQL with `:name` placeholders, and their values."""


class Statements(Protocol):
    """One store's way to run statements; any may raise LedgerUnavailableError."""

    async def write(self, *statements: Statement, lock: str | None = None) -> list[list[Row]]:
        """Run them as one durable transaction; the rows of each. Writers that name the same `lock` take turns."""
        ...

    async def read(self, statement: Statement) -> list[Row]:
        """The rows of one statement."""
        ...


class InvoiceKind(StrEnum):
    """What an invoice pays for."""

    OPEN = "open"
    TOPUP = "topup"


class InvoiceStage(StrEnum):
    """How far an invoice is. The last four are final."""

    WAITING = "waiting"
    SENT = "sent"  # a transaction for it was seen
    ACTIVE = "active"
    UNDERPAID = "underpaid"
    REJECTED = "rejected"
    REPLACED = "replaced"  # by a newer top-up of its session


@dataclass(frozen=True, slots=True, kw_only=True)
class NewInvoice:
    """An invoice to be written down; amounts in base units. `terms` is the challenge that it was made from."""

    invoice_id: str
    kind: InvoiceKind
    offer_id: str
    amount: int
    terms: str
    salt: int
    created_at: int
    expires_at: int
    payer: str | None = None
    session_id: str | None = None
    deposit_before: int = 0  # of the session that is topped up

    def __post_init__(self) -> None:
        ledger_amount(self.amount)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice(NewInvoice):
    """An invoice as last committed."""

    stage: InvoiceStage
    signature: str | None
    received: BaseUnits | None
    reason: str | None

    @property
    def undecided(self) -> bool:
        """Whether its deposit may still come."""
        return self.stage in (InvoiceStage.WAITING, InvoiceStage.SENT)


class TokenStage(StrEnum):
    """What a token may do. FRESH becomes LIVE by its first use, which revokes the session's others."""

    STANDBY = "standby"  # looks at its invoice only
    FRESH = "fresh"
    LIVE = "live"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Grant:
    """Whom a token acts for."""

    session_id: str | None
    invoice_id: str | None
    stage: TokenStage


class NameOutcome(StrEnum):
    """Of saying which wallet pays an invoice."""

    NAMED = "named"
    OTHER = "other"  # it is another wallet's
    OVER = "over"  # it is decided, or unknown


class ReplaceOutcome(StrEnum):
    """Of replacing a session's tokens."""

    REPLACED = "replaced"
    STALE = "stale"  # another was given out since


class FreeOutcome(StrEnum):
    """Of asking for a free answer."""

    TAKEN = "taken"
    VISITOR_USED_UP = "visitor_used_up"
    ADDRESS_USED_UP = "address_used_up"


@dataclass(frozen=True, slots=True)
class FreeCount:
    """Free asks of one day so far."""

    visitor: int
    address: int


_INVOICE_FIELDS: Final = tuple(Invoice.__dataclass_fields__)
_INVOICE: Final = f"SELECT {', '.join(_INVOICE_FIELDS)} FROM invoice"  # noqa: S608 - names of fields
_NEW_FIELDS: Final = tuple(NewInvoice.__dataclass_fields__)
_ADD: Final = (
    f"INSERT INTO invoice ({', '.join(_NEW_FIELDS)}, stage) "  # noqa: S608 - names of fields
    f"VALUES ({', '.join(':' + name for name in _NEW_FIELDS)}, 'waiting')"
)
# One top-up of a session waits at a time: what arrives is counted for the newest.
_SUPERSEDE: Final = """
  UPDATE invoice SET stage = 'replaced'
  WHERE kind = 'topup' AND session_id = :session_id AND stage IN ('waiting', 'sent')"""
_ADD_GRANT: Final = """
  INSERT INTO access_token (digest, session_id, invoice_id, stage, created_at)
  VALUES (:digest, :session_id, :invoice_id, 'standby', :now)"""
_NAME_PAYER: Final = """
  UPDATE invoice SET payer = :payer, session_id = :session_id
  WHERE invoice_id = :invoice_id AND stage IN ('waiting', 'sent') AND (payer IS NULL OR payer = :payer)
  RETURNING invoice_id"""
_MOVE: Final = """
  UPDATE invoice SET stage = :stage, signature = coalesce(:signature, signature),
    received = coalesce(:received, received), reason = :reason
  WHERE invoice_id = :invoice_id AND stage IN ('waiting', 'sent') RETURNING invoice_id"""
# Only what has become active hands out power; a top-up's token waits for its first use.
_GRANT: Final = """
  UPDATE access_token SET
    session_id = (SELECT session_id FROM invoice WHERE invoice_id = :invoice_id),
    stage = (SELECT CASE kind WHEN 'open' THEN 'live' ELSE 'fresh' END FROM invoice WHERE invoice_id = :invoice_id)
  WHERE invoice_id = :invoice_id AND stage = 'standby'
    AND EXISTS (SELECT 1 FROM invoice WHERE invoice_id = :invoice_id AND stage = 'active')"""
_UNDECIDED: Final = (
    _INVOICE + " WHERE stage IN ('waiting', 'sent') AND payer IS NOT NULL AND created_at > :since "
    "ORDER BY created_at DESC, invoice_id LIMIT :limit"
)
_FORGET: Final = """
  DELETE FROM invoice WHERE created_at < :before AND stage NOT IN ('active', 'underpaid')"""
_FORGET_UNNAMED: Final = "DELETE FROM invoice WHERE payer IS NULL AND expires_at < :unnamed"
_FORGET_TOKENS: Final = """
  DELETE FROM access_token WHERE stage = 'standby' AND created_at < :before
    AND NOT EXISTS (SELECT 1 FROM invoice WHERE invoice.invoice_id = access_token.invoice_id)"""
_TOKEN: Final = "SELECT session_id, invoice_id, stage FROM access_token WHERE digest = :digest"  # noqa: S105
_USE: Final = """
  UPDATE access_token SET stage = 'live' WHERE digest = :digest AND stage = 'fresh' RETURNING session_id"""
_REVOKE_OTHERS: Final = """
  UPDATE access_token SET stage = 'revoked'
  WHERE digest <> :digest AND stage IN ('fresh', 'live')
    AND session_id = (SELECT session_id FROM access_token WHERE digest = :digest AND stage = 'live')"""
_REVOKE: Final = "UPDATE access_token SET stage = 'revoked' WHERE digest = :digest"
_GENERATION: Final = "SELECT count(*) FROM access_token WHERE session_id = :session_id AND stage <> 'standby'"
_REPLACE: Final = """
  INSERT INTO access_token (digest, session_id, stage, created_at)
  SELECT :digest, session_id, 'live', :now FROM session
  WHERE session_id = :session_id AND :generation =
    (SELECT count(*) FROM access_token WHERE access_token.session_id = :session_id AND stage <> 'standby')
  RETURNING digest"""
_SESSIONS_OF: Final = """
  SELECT session_id FROM session
  WHERE payer = :payer AND voucher_signer = 'operator' AND state IN ('pending', 'active', 'closing')
  ORDER BY number DESC LIMIT :limit"""
_COUNT: Final = """
  SELECT (SELECT count(*) FROM free_ask WHERE day = :day AND visitor = :visitor),
    (SELECT count(*) FROM free_ask WHERE day = :day AND address = :address)"""
_TAKE: Final = """
  INSERT INTO free_ask (ask_id, day, visitor, address)
  SELECT :ask_id, day, visitor, address FROM (SELECT :day AS day, :visitor AS visitor, :address AS address) AS asked
  WHERE (SELECT count(*) FROM free_ask WHERE day = :day AND visitor = :visitor) < :visitor_most
    AND (SELECT count(*) FROM free_ask WHERE day = :day AND address = :address) < :address_most
  RETURNING ask_id"""
_GIVE_BACK: Final = "DELETE FROM free_ask WHERE ask_id = :ask_id"
_FORGET_FREE: Final = "DELETE FROM free_ask WHERE day < :day"


class PeopleBook:
    """The people's part of a ledger, in whichever store it is."""

    def __init__(self, store: Statements) -> None:
        self._store = store

    async def add_invoice(self, new: NewInvoice, digest: str) -> None:
        """Write down an invoice and the digest of its token; a waiting top-up of the same session is replaced."""
        values = {name: getattr(new, name) for name in _NEW_FIELDS} | {"salt": str(new.salt), "kind": str(new.kind)}
        grant = {
            "digest": digest,
            "session_id": new.session_id,
            "invoice_id": new.invoice_id,
            "now": new.created_at,
        }
        topups: list[Statement] = []
        if new.kind is InvoiceKind.TOPUP:
            topups.append((_SUPERSEDE, {"session_id": new.session_id}))
        await self._store.write(*topups, (_ADD, values), (_ADD_GRANT, grant), lock=new.session_id)

    async def invoice(self, invoice_id: str) -> Invoice | None:
        """One invoice as last committed."""
        rows = await self._store.read((_INVOICE + " WHERE invoice_id = :invoice_id", {"invoice_id": invoice_id}))
        return _invoice(rows[0]) if rows else None

    async def session_invoices(self, session_id: str) -> list[Invoice]:
        """A session's invoices, oldest first."""
        where = " WHERE session_id = :session_id ORDER BY created_at, invoice_id"
        return [_invoice(row) for row in await self._store.read((_INVOICE + where, {"session_id": session_id}))]

    async def name_payer(self, invoice_id: str, payer: str, session_id: str) -> NameOutcome:
        """Say which wallet pays, and so at which address its session is. The first one stays."""
        bindings = {"invoice_id": invoice_id, "payer": payer, "session_id": session_id}
        [named] = await self._store.write((_NAME_PAYER, bindings))
        if named:
            return NameOutcome.NAMED
        invoice = await self.invoice(invoice_id)
        return NameOutcome.OTHER if invoice is not None and invoice.undecided else NameOutcome.OVER

    async def move_invoice(
        self,
        invoice_id: str,
        stage: InvoiceStage,
        *,
        signature: str | None = None,
        received: int | None = None,
        reason: str | None = None,
    ) -> None:
        """Say how far an invoice is; nothing where it is decided. With ACTIVE its token may act for the session."""
        moved = {
            "invoice_id": invoice_id,
            "stage": str(stage),
            "signature": signature,
            "received": received,
            "reason": reason,
        }
        await self._store.write((_MOVE, moved), (_GRANT, {"invoice_id": invoice_id}))

    async def undecided(self, since: int, limit: int = 100) -> list[Invoice]:
        """Invoices made after then whose wallet is known and whose deposit may still come, newest first."""
        return [_invoice(row) for row in await self._store.read((_UNDECIDED, {"since": since, "limit": limit}))]

    async def forget_invoices(self, before: int, unnamed: int) -> None:
        """Drop invoices made before then that came to nothing, and those no wallet was named for by `unnamed`."""
        await self._store.write(
            (_FORGET, {"before": before}),
            (_FORGET_UNNAMED, {"unnamed": unnamed}),
            (_FORGET_TOKENS, {"before": unnamed}),
        )

    async def token(self, digest: str) -> Grant | None:
        """Whom a token acts for."""
        rows = await self._store.read((_TOKEN, {"digest": digest}))
        return Grant(rows[0][0], rows[0][1], TokenStage(rows[0][2])) if rows else None

    async def first_use(self, digest: str) -> None:
        """A FRESH token is LIVE from now on, and its session's others are revoked."""
        await self._store.write((_USE, {"digest": digest}), (_REVOKE_OTHERS, {"digest": digest}))

    async def revoke_token(self, digest: str) -> None:
        """It acts for nobody any more."""
        await self._store.write((_REVOKE, {"digest": digest}))

    async def generation(self, session_id: str) -> int:
        """How many tokens the session was given so far: a proof made for one of them is good for no other."""
        [row] = await self._store.read((_GENERATION, {"session_id": session_id}))
        return int(row[0])

    async def replace_tokens(self, session_id: str, digest: str, generation: int, now: int) -> ReplaceOutcome:
        """Give a session a new token in the place of all others, if none was given since `generation`."""
        bindings = {"session_id": session_id, "digest": digest, "generation": generation, "now": now}
        [replaced, _] = await self._store.write(
            (_REPLACE, bindings), (_REVOKE_OTHERS, {"digest": digest}), lock=session_id
        )
        return ReplaceOutcome.REPLACED if replaced else ReplaceOutcome.STALE

    async def sessions_of(self, payer: str, limit: int = 20) -> list[str]:
        """Ids of a wallet's metered sessions that are not over, newest first."""
        rows = await self._store.read((_SESSIONS_OF, {"payer": payer, "limit": limit}))
        return [str(row[0]) for row in rows]

    async def free_count(self, day: int, visitor: str, address: str) -> FreeCount:
        """How many free asks a visitor and an address have had on a day (days since 1970)."""
        [row] = await self._store.read((_COUNT, {"day": day, "visitor": visitor, "address": address}))
        return FreeCount(int(row[0]), int(row[1]))

    async def take_free(
        self, ask_id: str, day: int, visitor: str, address: str, *, visitor_most: int, address_most: int
    ) -> FreeOutcome:
        """Count one free ask, unless visitor or address has had its most: however many ask at once."""
        asked = {"day": day, "visitor": visitor, "address": address}
        most = {"visitor_most": visitor_most, "address_most": address_most}
        [taken, counts] = await self._store.write(
            (_TAKE, {**asked, **most, "ask_id": ask_id}), (_COUNT, asked), lock=f"free {day}"
        )
        if taken:
            return FreeOutcome.TAKEN
        return FreeOutcome.VISITOR_USED_UP if counts[0][0] >= visitor_most else FreeOutcome.ADDRESS_USED_UP

    async def give_back_free(self, ask_id: str) -> None:
        """A free ask was not answered: it does not count."""
        await self._store.write((_GIVE_BACK, {"ask_id": ask_id}))

    async def forget_free(self, day: int) -> None:
        """Drop what was counted before a day."""
        await self._store.write((_FORGET_FREE, {"day": day}))


def _invoice(row: Row) -> Invoice:
    values = dict(zip(_INVOICE_FIELDS, row, strict=True))
    return Invoice(
        **{
            **values,
            "kind": InvoiceKind(values["kind"]),
            "stage": InvoiceStage(values["stage"]),
            "salt": int(values["salt"]),
        }
    )
