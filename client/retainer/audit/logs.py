"""A provider's usage logs, one file for each session, against what each settlement committed to."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from solders.pubkey import Pubkey

from retainer.audit.findings import Finding, Kind
from retainer.audit.life import End, Life
from retainer.audit.reading import read_receipts
from retainer.audit.settlement import OnChain, Sums, audit_settlement
from retainer.audit.witnessed import contradicted
from retainer.protocol.amounts import base_units
from retainer.protocol.encoding import Json
from retainer.protocol.errors import MessageError
from retainer.protocol.events import SessionClosed, SessionOpened
from retainer.protocol.usage import EMPTY_ROOT
from retainer.protocol.usage_log import read_log
from retainer.stores.receipts import read_kept

_SUFFIX = ".jsonl"


@dataclass(slots=True)
class Shown:
    """A folder of logs named ``SESSION.jsonl``, what they came to, and which of them the chain knows."""

    folder: Path
    receipts: Path | None = None
    requests: int = 0
    free: int = 0
    matched: int = 0
    credit_units: int = 0  # given back, since availability fell short
    short_windows: int = 0
    unreceipted: int = 0
    unchecked: int = 0  # logs of sessions whose opening the node has forgotten
    logs: Counter[bool] = field(default_factory=Counter)  # whether nothing was found in it

    def check(self, life: Life) -> Iterator[Finding]:
        """Hold the log of one settled session against its settlement."""
        path = self.folder / f"{life.session}{_SUFFIX}"
        if life.end is not End.CLOSED:
            return  # nothing was settled by a log
        if not path.exists():
            if life.settled or life.usage_root != EMPTY_ROOT.hex():
                yield Finding(
                    Kind.HIDDEN, f"it settled {life.settled} by {life.ending}, and the provider shows no log of it"
                )
            return
        onchain = onchain_of(life)
        if onchain is None:
            self.unchecked += 1
            return
        kept = read_receipts(self.receipts, onchain.opened.session) if self.receipts else {}
        sums, honest = Sums(), True
        try:
            with path.open(encoding="utf-8") as lines:
                header, entries = read_log(lines)
                for found in audit_settlement(onchain, header, entries, kept, sums):
                    honest = False
                    yield found
                kept_here = read_kept(self.receipts, life.session) if self.receipts else ()
                for found in contradicted(kept_here, header.sla):
                    honest = False
                    yield found
        except MessageError as error:
            honest = False
            yield Finding(Kind.ROOT, f"its log cannot be read: {error}")
        self.logs[honest] += 1
        self.requests, self.free = self.requests + sums.requests, self.free + sums.free
        self.matched += len(sums.receipts)
        self.unreceipted += sums.unreceipted
        self.credit_units += sums.credit_units
        self.short_windows += sums.short_windows

    def to_json(self) -> dict[str, Json]:
        """What they came to."""
        return {
            "honest": self.logs[True],
            "wrong": self.logs[False],
            "requests": self.requests,
            "free": self.free,
            "credit_units": self.credit_units,
            "short_windows": self.short_windows,
            "receipts": self.matched,
            "unreceipted": self.unreceipted,
            "unchecked": self.unchecked,
        }

    def unknown(self, known: Iterator[str]) -> Iterator[tuple[str, Finding]]:
        """Logs of sessions that the chain does not have; ``known`` are those that it has."""
        names = {path.stem for path in self.folder.glob(f"*{_SUFFIX}")}
        for session in sorted(names.difference(known)):
            yield session, Finding(Kind.HIDDEN, "the provider shows a log of it, and the chain knows no such session")


def onchain_of(life: Life) -> OnChain | None:
    """What the chain said of a settled session; None where its opening or its close was not found."""
    known = (life.payer, life.payee, life.operator, life.mint, life.authorized_signer, life.sla_hash, life.usage_root)
    if life.end is not End.CLOSED or None in known or life.price_per_unit is None or life.refunded is None:
        return None
    session = Pubkey.from_string(life.session)
    payer, payee, operator, mint, signer = (Pubkey.from_string(str(one)) for one in known[:5])
    opened_at = life.opened_at or 0
    return OnChain(
        SessionOpened(
            session=session,
            payer=payer,
            payee=payee,
            operator=operator,
            authorized_signer=signer,
            mint=mint,
            deposit=base_units(life.deposit),
            price_per_unit=base_units(life.price_per_unit),
            expires_at=life.expires_at or 0,
            opened_at=opened_at,
            sla_hash=bytes.fromhex(str(life.sla_hash)),
        ),
        SessionClosed(
            session=session,
            payer=payer,
            payee=payee,
            mint=mint,
            deposit=base_units(life.deposit),
            settled=base_units(life.settled),
            refunded=base_units(life.refunded),
            charged_units=life.charged_units,
            opened_at=opened_at,
            usage_root=bytes.fromhex(str(life.usage_root)),
        ),
    )
