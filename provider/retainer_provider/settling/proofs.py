"""Proofs of what sessions spent, as agents hand them in: files of `Payment-Receipt` texts and signed vouchers."""

from pathlib import Path

from retainer.protocol import fields
from retainer.protocol.encoding import read_json
from retainer.protocol.errors import MessageError
from retainer.protocol.fields import Fields
from retainer.protocol.receipts import Receipt, parse_receipt
from retainer.protocol.vouchers import SignedVoucher, voucher_from_json


def read_proofs(folder: Path) -> tuple[list[Receipt], list[SignedVoucher]]:
    """Everything in the folder's files, one proof a line; nothing is verified yet. MessageError names a bad line.

    A line is what `retainer proofs` prints, a receipt's text or a signed voucher as JSON, or one of those that
    `retainer ask --receipts` keeps.
    """
    receipts: list[Receipt] = []
    vouchers: list[SignedVoucher] = []
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            text = line.strip()
            try:
                if text.startswith("{"):
                    told = Fields(read_json(text.encode(), "the line"), "proof")
                    kept = told.optional("receipt", fields.text)
                    if kept is None:
                        vouchers.append(voucher_from_json(told))
                    else:
                        receipts.append(parse_receipt(kept))
                elif text:
                    receipts.append(parse_receipt(text))
            except MessageError as error:
                raise MessageError(f"{path.name}, line {number}, is neither receipt nor voucher: {error}") from None
    return receipts, vouchers
