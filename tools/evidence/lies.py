"""A provider's log as it can be rewritten before it is settled, and a close that its operator builds by hand."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from msgspec import structs
from solders.pubkey import Pubkey

from retainer.chain.sessions import session_account
from retainer.chain.submit import submit
from retainer.protocol.amounts import base_units
from retainer.protocol.instructions import close
from retainer.protocol.pda import derive_ata
from retainer.protocol.usage import UsageEntry, usage_root
from retainer.protocol.usage_log import LogHeader, entry_line, read_log
from tools.evidence.clones import ROOT, run_command
from tools.stage import Stage


@dataclass(frozen=True, slots=True)
class Book:
    """A usage log in hand."""

    header: LogHeader
    entries: tuple[UsageEntry, ...]

    @property
    def text(self) -> str:
        """The file."""
        return "".join(f"{line}\n" for line in (self.header.line(), *map(entry_line, self.entries)))

    @property
    def units(self) -> int:
        """What it charges, in whole units of the price."""
        return sum(entry.amount for entry in self.entries) // self.header.price

    def changed(self, sequence: int, **changes: object) -> "Book":
        """With another entry at that place, and totals that fit."""
        entries = [structs.replace(entry, **changes) if entry.sequence == sequence else entry for entry in self.entries]
        return self.rewritten(entries)

    def rewritten(self, entries: Sequence[UsageEntry]) -> "Book":
        """With these entries, numbered and summed anew: a log that agrees with itself."""
        total, out = 0, []
        for number, entry in enumerate(entries, 1):
            total += entry.amount
            out.append(structs.replace(entry, sequence=number, cumulative=base_units(total)))
        return replace(self, entries=tuple(out))


async def exported(stood: Stage, session: str) -> Book:
    """The log as `retainer-provider export` writes it."""
    command = [sys.executable, "-m", "retainer_provider", "export", session, "--config", str(stood.service.settings)]
    status, lines = await run_command(command, ROOT, echo=False)
    if status:
        raise RuntimeError(f"export ended with {status}: {lines}")
    header, entries = read_log(lines)
    return Book(header, tuple(entries))


async def close_with(stood: Stage, session: str, book: Book, *, payee: Pubkey | None = None, more: int = 0) -> str:
    """The operator settles by its own hand what this log says, and so many units more; the transaction's signature."""
    address = Pubkey.from_string(session)
    account = await session_account(stood.chain, address)
    if account is None:
        raise RuntimeError(f"there is no session {session}")
    units = book.units + more
    instruction = close(
        submitter=stood.operator.pubkey(),
        session=address,
        account=account,
        payee_token=derive_ata(payee or account.payee, account.mint),
        payer_token=derive_ata(account.payer, account.mint),
        amount=units * account.price_per_unit,
        charged_units=units,
        usage_root=usage_root(book.entries),
    )
    return await submit(stood.chain, [instruction], [stood.operator])
