from typing import Any

import pytest

from retainer.protocol.digests import body_digest, request_digest
from tests.golden import golden


@pytest.mark.parametrize("case", golden("digests"))
def test_digests_are_those_of_the_vectors(case: dict[str, Any]) -> None:
    body = bytes.fromhex(case["body"])
    assert body_digest(body).hex() == case["bodyDigest"]
    assert request_digest(case["method"], case["target"], body).hex() == case["digest"]


def test_requests_that_an_upstream_could_tell_apart_differ() -> None:
    """F19."""
    requests = [
        ("GET", "/ask", b""),
        ("POST", "/ask", b""),
        ("GET", "/ask/", b""),
        ("GET", "//ask", b""),
        ("GET", "/%61sk", b""),
        ("GET", "/ASK", b""),
        ("GET", "/ask?a=1&b=2", b""),
        ("GET", "/ask?b=2&a=1", b""),
        ("GET", "/ask", b"x"),
    ]
    assert len({request_digest(*request) for request in requests}) == len(requests)
