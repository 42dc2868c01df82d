from dataclasses import replace
from typing import Any

import pytest

from retainer.protocol.challenges import (
    Challenge,
    challenge_header,
    issue_challenge,
    parse_challenge_headers,
    verify_challenge_id,
)
from retainer.protocol.constants import MAX_CHALLENGE_BYTES
from retainer.protocol.encoding import canonical_json, encode_base64url
from retainer.protocol.errors import ChallengeError, MessageError
from retainer.protocol.offers import SessionRequest
from tests.golden import golden
from tests.unit.protocol.examples import REQUEST, SECRET, challenge

CHALLENGE = challenge()
HEADER = challenge_header(CHALLENGE)
OLD_SECRET = bytes(reversed(SECRET))
MINIMAL = 'Payment id="a", realm="r", method="solana", intent="session", request="e30"'


@pytest.mark.parametrize("case", golden("challenges"), ids=lambda case: str(case["name"]))
def test_challenges_are_issued_as_in_the_vectors(case: dict[str, Any]) -> None:
    request = SessionRequest.from_json(case["request"])
    assert canonical_json(request.to_json()).decode() == case["requestCanonical"]
    optional = {name: case.get(name) for name in ("expires", "digest", "description", "opaque")}
    issued = issue_challenge(bytes.fromhex(case["secret"]), case["realm"], request, **optional)
    assert issued.id == case["id"]
    assert challenge_header(issued) == case["header"]
    assert parse_challenge_headers([case["header"]]) == [issued]
    assert issued.session_request() == request
    assert issued.opaque_values() == (case.get("opaque") or {})


def test_an_absent_part_is_an_empty_slot_and_not_a_missing_one() -> None:
    """The draft's own example: expiry without digest must differ from digest without expiry."""
    with_expiry = issue_challenge(SECRET, "r", REQUEST, expires="x")
    with_digest = issue_challenge(SECRET, "r", REQUEST, digest="x")
    assert len({with_expiry.id, with_digest.id, issue_challenge(SECRET, "r", REQUEST).id}) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"realm": "other"},
        {"method": "evm"},
        {"intent": "charge"},
        {"request": encode_base64url(b'{"amount":"1"}')},
        {"expires": "2031-01-01T00:00:00Z"},
        {"expires": None},
        {"digest": "sha-256=:x:"},
        {"opaque": "e30"},
        {"id": CHALLENGE.id[:-1]},
        {"id": ""},
        {"id": "ü"},
    ],
)
def test_a_changed_challenge_is_not_ours(change: dict[str, Any]) -> None:
    assert verify_challenge_id(CHALLENGE, [SECRET])
    assert not verify_challenge_id(replace(CHALLENGE, **change), [SECRET])


def test_the_description_is_for_display_and_stock_clients_drop_it() -> None:
    assert verify_challenge_id(replace(CHALLENGE, description="anything"), [SECRET])


def test_a_rotated_secret_is_known_until_it_is_dropped() -> None:
    issued = issue_challenge(OLD_SECRET, "r", REQUEST)
    assert verify_challenge_id(issued, [SECRET, OLD_SECRET])
    assert not verify_challenge_id(issued, [SECRET])
    assert not verify_challenge_id(issued, [])


def test_a_guessable_secret_is_refused() -> None:
    """F28."""
    with pytest.raises(ChallengeError, match="32"):
        issue_challenge(b"short", "r", REQUEST)
    with pytest.raises(ChallengeError, match="32"):
        verify_challenge_id(CHALLENGE, [b"short"])


@pytest.mark.parametrize("text", ["line\nbreak", "line\r\nX-Injected: 1", "\0", "ü"])
def test_text_that_cannot_stand_in_a_header_is_refused(text: str) -> None:
    with pytest.raises(ChallengeError, match="realm"):
        issue_challenge(SECRET, text, REQUEST)
    with pytest.raises(ChallengeError, match="description"):
        issue_challenge(SECRET, "r", REQUEST, description=text)


@pytest.mark.parametrize(
    ("values", "realms"),
    [
        ([MINIMAL], ["r"]),
        ([], []),
        ([""], []),
        ([MINIMAL, MINIMAL.replace('"r"', '"s"')], ["r", "s"]),
        ([MINIMAL + ", " + MINIMAL.replace('"r"', '"s"')], ["r", "s"]),
        ([f'Basic realm="x, Payment y=z", {MINIMAL}'], ["r"]),
        ([f'{MINIMAL}, Basic realm="x", charset="UTF-8"'], ["r"]),
        ([f"Negotiate YWJj==, {MINIMAL}"], ["r"]),
        ([f"Negotiate, {MINIMAL}"], ["r"]),
        ([f"Negotiate ,, {MINIMAL} ,"], ["r"]),
        ([MINIMAL.replace("Payment", "PAYMENT")], ["r"]),
        ([MINIMAL.replace("realm", "Realm")], ["r"]),
        ([MINIMAL.replace('"r"', "r").replace(", ", ",")], ["r"]),
        ([MINIMAL.replace("=", " =\t").replace(", ", "\t ,  ")], ["r"]),
        ([MINIMAL.replace('"r"', r'"a \"b\", \\ c=\d"')], ['a "b", \\ c=d']),
        ([MINIMAL + ', unknown="x"'], ["r"]),
        ([MINIMAL.replace('"solana"', '"evm"')], ["r"]),
        (['Bearer realm="x"'], []),
    ],
)
def test_challenges_are_found_among_others(values: list[str], realms: list[str]) -> None:
    assert [found.realm for found in parse_challenge_headers(values)] == realms


@pytest.mark.parametrize(
    "value",
    [
        "Payment",
        "Payment YWJj",
        MINIMAL.replace('id="a", ', ""),
        MINIMAL.replace('id="a"', 'id=""'),
        MINIMAL.replace('realm="r", ', ""),
        MINIMAL.replace('request="e30"', "request="),
        MINIMAL.replace('"solana"', '"Solana"'),
        MINIMAL.replace('"solana"', '"sol1"'),
        MINIMAL.replace('"solana"', '""'),
        MINIMAL + ', ID="b"',
        MINIMAL[:-1],
        MINIMAL.replace(", ", " "),
        MINIMAL.replace("Payment ", "Payment, "),
        MINIMAL + ', realm2="a\nb"',
        "=",
        '"quoted"',
        "Payment a b",
        "Basic " * 3,
        "A" * (MAX_CHALLENGE_BYTES + 1),
    ],
)
def test_a_malformed_header_is_refused(value: str) -> None:
    with pytest.raises(MessageError):
        parse_challenge_headers([value])


def test_a_header_may_be_as_long_as_the_cap() -> None:
    filler = MINIMAL + ', filler="'
    longest = filler + "x" * (MAX_CHALLENGE_BYTES - len(filler) - 1) + '"'
    assert len(parse_challenge_headers([longest])) == 1
    with pytest.raises(MessageError, match="longer"):
        parse_challenge_headers([longest + " "])


@pytest.mark.parametrize("change", [{"method": "evm"}, {"intent": "charge"}, {"request": "e30="}, {"request": "W10"}])
def test_a_challenge_that_asks_for_something_else_has_no_session_request(change: dict[str, str]) -> None:
    with pytest.raises(MessageError):
        replace(CHALLENGE, **change).session_request()


def test_the_expiry_is_read_and_a_bad_one_named() -> None:
    assert CHALLENGE.expires_at() == 1_893_456_000
    assert replace(CHALLENGE, expires=None).expires_at() is None
    with pytest.raises(MessageError, match="expires"):
        replace(CHALLENGE, expires="soon").expires_at()


@pytest.mark.parametrize("opaque", ["e30=", encode_base64url(b"[]"), encode_base64url(b'{"a":1}')])
def test_opaque_values_are_flat_text(opaque: str) -> None:
    with pytest.raises(MessageError, match="opaque"):
        replace(CHALLENGE, opaque=opaque).opaque_values()


def test_parsing_keeps_the_request_text_as_it_is() -> None:
    """The id is bound to the text: a request written by another library, in another order, must survive unchanged."""
    text = encode_base64url(b'{ "b":1, "a":2 }')
    parsed = parse_challenge_headers([MINIMAL.replace("e30", text)])
    assert parsed == [Challenge(id="a", realm="r", method="solana", intent="session", request=text)]
    assert challenge_header(parse_challenge_headers([HEADER])[0]) == HEADER
