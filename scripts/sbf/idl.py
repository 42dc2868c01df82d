"""Makes the two IDL files out of what the program's `idl-build` feature prints.

Usage: idl.py PRINTED FOLDER

`session_escrow.json` is the IDL in Anchor's present form. `session_escrow.legacy.json` is the form of before Anchor
0.30, which anchorpy 0.21 reads: accounts, events, errors and types. It names no instructions, because that form can
only say eight-byte discriminators and this program's instructions have one byte.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

SECTION = re.compile(r"^--- IDL begin (\w+) ---\n(.*?)\n--- IDL end \1 ---$", re.MULTILINE | re.DOTALL)


def assemble(printed: str) -> dict[str, Any]:
    """Join the printed sections into one IDL; types and events in the order of their names, so that it is stable."""
    sections: dict[str, list[str]] = {}
    for kind, body in SECTION.findall(printed):
        sections.setdefault(kind, []).append(body)
    idl: dict[str, Any] = json.loads(sections["program"][0])
    events = [json.loads(body) for body in sections["event"]]
    types = [*idl["types"], *(entry for event in events for entry in event["types"])]
    idl["address"] = sections["address"][0]
    idl["events"] = sorted((event["event"] for event in events), key=by_name)
    idl["errors"] = json.loads(sections["errors"][0])
    # Anchor writes `PodU64` as `u64` where it is used, and describes it besides; nothing refers to that.
    idl["types"] = sorted((entry for entry in types if entry["type"]["kind"] != "type"), key=by_name)
    return idl


def by_name(entry: dict[str, Any]) -> str:
    """Sort key of an IDL entry."""
    return str(entry["name"])


def legacy(idl: dict[str, Any]) -> dict[str, Any]:
    """Rewrite an IDL in the form of before Anchor 0.30, without instructions."""
    fields = {entry["name"]: [legacy_field(field) for field in entry["type"]["fields"]] for entry in idl["types"]}
    return {
        "version": idl["metadata"]["version"],
        "name": idl["metadata"]["name"],
        "instructions": [],
        "accounts": [
            {"name": entry["name"], "type": {"kind": "struct", "fields": fields[entry["name"]]}}
            for entry in idl["accounts"]
        ],
        "events": [
            {"name": entry["name"], "fields": [{**field, "index": False} for field in fields[entry["name"]]]}
            for entry in idl["events"]
        ],
        "errors": idl["errors"],
        "types": [],
        "metadata": {"address": idl["address"]},
    }


def legacy_field(field: dict[str, Any]) -> dict[str, Any]:
    """Rewrite one field: camelCase, and `publicKey` for `pubkey`."""
    head, *tail = field["name"].split("_")
    kind = "publicKey" if field["type"] == "pubkey" else field["type"]
    return {"name": head + "".join(word.capitalize() for word in tail), "type": kind}


def main(printed: Path, folder: Path) -> None:
    """Write both files into `folder`."""
    idl = assemble(printed.read_text(encoding="utf-8"))
    for name, content in (("session_escrow.json", idl), ("session_escrow.legacy.json", legacy(idl))):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
