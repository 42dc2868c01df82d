import pytest

from retainer_provider.wire.headers import decode, encode, from_upstream, to_upstream, values

RAW = [
    (b"Host", b"shop.test"),
    (b"Authorization", b"Payment abcdef"),
    (b"Connection", b"close, X-Temporary"),
    (b"X-Temporary", b"1"),
    (b"Transfer-Encoding", b"chunked"),
    (b"X-Retainer-Session", b"forged"),
    (b"Payment-Receipt", b"forged"),
    (b"Idempotency-Key", b"k1"),
    (b"Accept", b"text/plain"),
]


@pytest.mark.row("F27", attack="the bearer proof forwarded upstream", twin="session and key are")
def test_the_upstream_sees_the_session_and_the_key_but_no_credential() -> None:
    """F27: the proof is a bearer token."""
    seen = decode(to_upstream(RAW, session_id="S", body_length=5))
    assert seen == [
        ("host", "shop.test"),
        ("idempotency-key", "k1"),
        ("accept", "text/plain"),
        ("content-length", "5"),
        ("x-retainer-session", "S"),
    ]


def test_a_request_without_a_body_is_forwarded_without_framing() -> None:
    raw = [(b"content-length", b"0"), (b"expect", b"100-continue")]
    assert to_upstream(raw, session_id="S", body_length=0) == [(b"x-retainer-session", b"S")]


def test_a_free_request_keeps_its_own_authorization_but_never_a_payment_one() -> None:
    kept = to_upstream([(b"authorization", b"Bearer x")], session_id=None, body_length=None)
    assert kept == [(b"authorization", b"Bearer x")]
    assert to_upstream([(b"authorization", b"payment x")], session_id=None, body_length=None) == []


@pytest.mark.row("F22", attack="an upstream that allows shared caching of what was paid for", twin="private, no-store")
def test_an_upstream_cannot_forge_receipts_challenges_or_cache_rules() -> None:
    """F22."""
    answer = [
        ("content-type", "text/plain"),
        ("payment-receipt", "forged"),
        ("www-authenticate", "Payment id=x"),
        ("www-authenticate", "Basic realm=x"),
        ("cache-control", "public, max-age=600"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("connection", "keep-alive"),
        ("keep-alive", "timeout=5"),
        ("retainer-units", "7"),
    ]
    kept, units = from_upstream(encode(answer))
    assert kept == (
        ("content-type", "text/plain"),
        ("www-authenticate", "Basic realm=x"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
    )
    assert units == "7"


def test_all_values_of_a_header_are_found_whatever_their_case() -> None:
    assert values([(b"A", b"1"), (b"b", b"2"), (b"a", b"3")], "a") == ["1", "3"]
