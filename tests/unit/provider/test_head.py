"""What the gate reads of a request's headers, in one pass over them."""

import pytest

from retainer.protocol.problems import ProblemType
from retainer_provider.sessions.refusals import RefusedError
from retainer_provider.wire.head import Head

Raw = list[tuple[bytes, bytes]]


def head(*raw: tuple[bytes, bytes], version: str = "1.1") -> Head:
    return Head({"type": "http", "http_version": version, "headers": list(raw)})


def test_what_is_not_said_is_none() -> None:
    silent = head((b"host", b"shop.test"), (b"cookie", b"a=1"))
    assert (silent.payment(), silent.key(), silent.max_units(), silent.session()) == (None, None, None, None)
    assert silent.length() == 0


def test_values_are_found_whatever_the_names_case() -> None:
    said = head((b"Authorization", b"payment abc"), (b"IDEMPOTENCY-KEY", b"k"), (b"Retainer-Max-Units", b" 7 "))
    assert (said.payment(), said.key(), said.max_units()) == (b"payment abc", "k", 7)


def test_a_credential_of_another_scheme_is_none_of_ours() -> None:
    assert head((b"authorization", b"Bearer abc")).payment() is None


@pytest.mark.parametrize(
    "raw",
    [
        [(b"authorization", b"Payment a"), (b"authorization", b"Bearer b")],
        [(b"idempotency-key", b"a"), (b"idempotency-key", b"a")],
        [(b"idempotency-key", b"")],
        [(b"idempotency-key", b"two words")],
        [(b"idempotency-key", b"x" * 256)],
        [(b"idempotency-key", "d\xe9j\xe0".encode())],
        [(b"retainer-max-units", b"1"), (b"retainer-max-units", b"1")],
        [(b"retainer-max-units", b"-1")],
        [(b"retainer-max-units", b"many")],
    ],
)
def test_what_two_readers_could_read_differently_is_refused(raw: Raw) -> None:
    """F19, F20: no guess is made which of two values was meant."""
    asked = head(*raw)
    with pytest.raises(RefusedError) as refused:
        _ = asked.payment(), asked.key(), asked.max_units()
    assert refused.value.refusal.problem is ProblemType.REQUEST_MALFORMED


@pytest.mark.parametrize(
    ("raw", "version", "bodiless"),
    [
        ([], "1.1", True),
        ([], "1.0", True),
        ([], "2", False),  # frames say where a body ends, so none need be announced
        ([], "", False),
        ([(b"content-length", b"0")], "1.1", False),
        ([(b"Content-Length", b"3")], "1.1", False),
        ([(b"transfer-encoding", b"chunked")], "1.1", False),
    ],
)
def test_only_what_cannot_have_a_body_is_not_waited_for(raw: Raw, version: str, bodiless: bool) -> None:  # noqa: FBT001
    """F21: whoever may still send a body has so long for it, and no longer."""
    assert head(*raw, version=version).bodiless is bodiless


@pytest.mark.parametrize(("said", "length"), [(b"12", 12), (b"+12", 0), (b"\xb2", 0), (b"", 0)])
def test_a_length_is_digits(said: bytes, length: int) -> None:
    assert head((b"content-length", said)).length() == length
