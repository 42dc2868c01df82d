"""What a settlement committed to, by the IDL and nothing else: python audit_plain_idl.py RPC_URL IDL_FILE SIGNATURE."""

import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def base58(text: str) -> bytes:
    """The bytes behind base58 text."""
    number = 0
    for letter in text:
        number = number * 58 + ALPHABET.index(letter)
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8)


def fields(members: list[dict[str, Any]], data: bytes) -> dict[str, int | str]:
    """Numbers and byte arrays as the IDL lays them out, one after the other."""
    read: dict[str, int | str] = {}
    for member in members:
        kind = member["type"]
        size = kind["array"][1] if isinstance(kind, dict) else int(kind[1:]) // 8
        raw, data = data[:size], data[size:]
        signed = isinstance(kind, str) and kind[0] == "i"
        read[member["name"]] = raw.hex() if isinstance(kind, dict) else int.from_bytes(raw, "little", signed=signed)
    return read


def main(rpc_url: str, idl_file: str, signature: str) -> None:
    """Print accounts and arguments of the transaction's `close`."""
    idl = json.loads(Path(idl_file).read_text())
    close = next(one for one in idl["instructions"] if one["name"] == "close")
    config = {"encoding": "json", "commitment": "confirmed", "maxSupportedTransactionVersion": 0}
    body = {"jsonrpc": "2.0", "id": 1, "method": "getTransaction", "params": [signature, config]}
    request = urllib.request.Request(rpc_url, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310  your own node
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        message = json.load(answer)["result"]["transaction"]["message"]
    keys, tag = message["accountKeys"], bytes(close["discriminator"])
    for instruction in message["instructions"]:
        data = base58(instruction["data"])
        if keys[instruction["programIdIndex"]] == idl["address"] and data.startswith(tag):
            names = [account["name"] for account in close["accounts"]]
            accounts = dict(zip(names, (keys[index] for index in instruction["accounts"]), strict=True))
            print(json.dumps({**accounts, **fields(close["args"], data[len(tag) :])}, indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])
