"""Receipts that the agent keeps, each beside what the agent itself saw: its half of an audit.

A folder with one file for each session, ``SESSION.jsonl``, and one line for each answer. What an operator signed
cannot be taken back; what was seen here says when it does not fit.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from retainer.errors import StoreError
from retainer.protocol import fields
from retainer.protocol.encoding import Json, read_json
from retainer.protocol.errors import MessageError
from retainer.protocol.fields import Fields
from retainer.protocol.receipts import Receipt, parse_receipt, receipt_header

_PRIVATE: Final = 0o600
_SUFFIX: Final = ".jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One answer as the agent saw it, by the agent's own clock.

    ``received_at`` is Unix seconds, at the answer's end. ``first_byte_ms`` and ``latency_ms`` run from sending the
    request to the answer's head and to its last byte, network included. ``body_digest`` is hexadecimal, over the body
    as it travelled, and None where it was not read to its end. ``repeated``: the request had left before under its
    Idempotency-Key, so the answer may be a replay, and its times say nothing about the service.
    """

    received_at: int
    first_byte_ms: int
    latency_ms: int
    status: int
    request_digest: str
    body_digest: str | None = None
    repeated: bool = False

    def to_json(self) -> dict[str, Json]:
        """The object under ``seen``."""
        return fields.present(
            {
                "receivedAt": self.received_at,
                "firstByteMs": self.first_byte_ms,
                "latencyMs": self.latency_ms,
                "status": self.status,
                "requestDigest": self.request_digest,
                "bodyDigest": self.body_digest,
                "repeated": self.repeated,
            }
        )

    @classmethod
    def from_json(cls, seen: Fields) -> "Observation":
        """Read ``to_json``'s form; MessageError names the bad field."""
        return cls(
            received_at=seen.require("receivedAt", fields.integer()),
            first_byte_ms=seen.require("firstByteMs", fields.integer()),
            latency_ms=seen.require("latencyMs", fields.integer()),
            status=seen.require("status", fields.integer(100, 599)),
            request_digest=seen.require("requestDigest", fields.hex_digest),
            body_digest=seen.optional("bodyDigest", fields.hex_digest),
            repeated=seen.require("repeated", fields.flag),
        )


@dataclass(frozen=True, slots=True)
class KeptReceipt:
    """What the operator signed, and what was seen; a receipt that somebody else kept comes without the latter."""

    receipt: Receipt
    seen: Observation | None = None

    def to_line(self) -> str:
        """One line of JSON; the receipt stands in it as it travelled."""
        told: dict[str, Json] = {"receipt": receipt_header(self.receipt)}
        if self.seen is not None:
            told["seen"] = self.seen.to_json()
        return json.dumps(told, separators=(",", ":"))

    @classmethod
    def from_line(cls, line: str) -> "KeptReceipt":
        """Read ``to_line``'s form, or a bare ``Payment-Receipt`` text; MessageError says what is wrong with it."""
        if not line.startswith("{"):
            return cls(parse_receipt(line))
        kept = Fields(read_json(line.encode(), "the line"), "kept")
        seen = kept.inside_optional("seen")
        return cls(
            parse_receipt(kept.require("receipt", fields.filled_text)),
            None if seen is None else Observation.from_json(seen),
        )


class ReceiptFolder:
    """Keeps receipts under ``path``, which is made when it is not there; any number of processes may share it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """StoreError when there is no such folder and none can be made: found out before anything is paid."""
        self._path = Path(path).expanduser()
        try:
            self._path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"receipts cannot be kept in {self._path}: {error.strerror}") from None

    def keep(self, session_id: str, kept: KeptReceipt) -> None:
        """Append to what the session has; on disk when this returns. StoreError when that fails."""
        path = self._path / f"{session_id}{_SUFFIX}"
        try:
            # One write to a file opened for appending: lines of several processes never mix.
            file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, _PRIVATE)
            try:
                os.write(file, f"{kept.to_line()}\n".encode())
                os.fsync(file)
            finally:
                os.close(file)
        except OSError as error:
            raise StoreError(f"a receipt of session {session_id} cannot be kept: {error.strerror}") from None


def read_kept(folder: Path, session_id: str) -> Iterator[KeptReceipt]:
    """What is kept for the session, oldest first: its own file, and receipts from files that are not of this form.

    MessageError names file and line of one that cannot be read.
    """
    for path in sorted(folder.iterdir()):
        if path.suffix == _SUFFIX and path.stem != session_id:
            continue
        with path.open(encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    yield KeptReceipt.from_line(line.strip())
                except MessageError as error:
                    raise MessageError(f"{path.name}, line {number}, is no receipt: {error}") from None
