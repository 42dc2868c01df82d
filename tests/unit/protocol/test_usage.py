import hashlib
import json
from typing import Any

import pytest

from retainer.protocol.errors import MessageError
from retainer.protocol.usage import EMPTY_ROOT, UsageEntry, chain_hash, text_digest, usage_root
from tests.golden import golden

VECTOR = golden("usage")
ENTRIES = [UsageEntry.from_json(case["entry"]) for case in VECTOR["entries"]]


def test_the_chain_is_that_of_the_vectors() -> None:
    assert EMPTY_ROOT.hex() == VECTOR["empty"]
    head = EMPTY_ROOT
    for entry, case in zip(ENTRIES, VECTOR["entries"], strict=True):
        head = chain_hash(head, entry)
        assert head.hex() == case["head"]
        assert entry.to_json() == case["entry"]
    assert usage_root(ENTRIES) == head
    assert usage_root([]) == EMPTY_ROOT


def test_anyone_can_recompute_a_link_with_a_json_library_and_sha256() -> None:
    previous = EMPTY_ROOT
    for case in VECTOR["entries"]:
        line = json.dumps(case["entry"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert line == case["canonical"]
        previous = hashlib.sha256(b"retainer-usage-v1" + previous + line.encode()).digest()
        assert previous.hex() == case["head"]


def test_a_changed_dropped_or_moved_entry_changes_the_root() -> None:
    one, two, three = ENTRIES
    root = usage_root(ENTRIES)
    assert usage_root([two, one, three]) != root
    assert usage_root([one, three]) != root
    assert usage_root([one, two]) != root


def test_a_head_of_another_length_is_refused() -> None:
    with pytest.raises(MessageError):
        chain_hash(b"short", ENTRIES[0])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sequence", "1"),
        ("timestampMs", -1),
        ("keyDigest", "key-1"),
        ("status", 99),
        ("charged", 1),
        ("units", 1),
        ("amount", 8000),
        ("cumulative", "08000"),
        ("latencyMs", 1.5),
        ("method", ""),
        ("unheard", "of"),
    ],
)
def test_a_bad_field_is_named_and_an_unknown_one_refused(field: str, value: Any) -> None:  # noqa: ANN401 - any JSON
    with pytest.raises(MessageError, match=field):
        UsageEntry.from_json({**ENTRIES[0].to_json(), field: value})


def test_text_digests_are_sha256_in_hexadecimal() -> None:
    assert text_digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
