import json

import pytest

from retainer.protocol.encoding import (
    Json,
    canonical_json,
    decode_base64,
    decode_base64url,
    encode_base64url,
    read_json,
)
from retainer.protocol.errors import MessageError


def test_canonical_json_sorts_by_utf16_and_escapes_only_what_it_must() -> None:
    """RFC 8785, 3.2.2.2 and 3.2.3: a supplementary character sorts before U+FB33."""
    value: dict[str, Json] = {"\ufb33": 1, "\U0001f600": 2, "€": 3, "a": ['\u20ac/\n\x1f\\"', True, None, {}]}
    assert (
        canonical_json(value).decode() == '{"a":["€/\\n\\u001f\\\\\\"",true,null,{}],"€":3,"\U0001f600":2,"\ufb33":1}'
    )


@pytest.mark.parametrize("value", [2**53, -(2**53), "\ud800"])
def test_what_has_no_canonical_json_is_refused(value: Json) -> None:
    with pytest.raises(MessageError):
        canonical_json({"value": value})


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":1}',
        '{"a":{"b":1,"b":2}}',
        '{"a":1.0}',
        '{"a":1e2}',
        '{"a":NaN}',
        '{"a":Infinity}',
        '{"a":9007199254740992}',
        '{"a":-9007199254740992}',
        '{"a":' + "9" * 5000 + "}",
        '{"a":01}',
        '{"a":1,}',
        "{'a':1}",
        '{"a":1} x',
        "\ufeff{}",
        "",
        "[" * 100_000,
        '{"a":' * 100_000,
    ],
)
def test_json_that_two_readers_could_read_differently_is_refused(text: str) -> None:
    with pytest.raises(MessageError, match="the message"):
        read_json(text.encode(), "the message")


def test_json_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(MessageError, match="UTF-8"):
        read_json(b'{"a":"\xff"}', "the message")


def test_the_largest_integer_is_read() -> None:
    assert read_json(b'{"a":9007199254740991,"b":-9007199254740991}', "the message") == {"a": 2**53 - 1, "b": 1 - 2**53}


@pytest.mark.parametrize("data", [b"\0", b"\xff\xfe", b"abc", json.dumps({"a": 1}).encode()])
def test_base64url_has_no_padding_and_comes_back(data: bytes) -> None:
    text = encode_base64url(data)
    assert "=" not in text
    assert decode_base64url(text, "it") == data


@pytest.mark.parametrize("text", ["", "YQ==", "YR", "YQ\n", " YQ", "YQ ", "a", "+/+/", "YWJ\u0441", "Y Q"])
def test_base64url_in_any_other_form_is_refused(text: str) -> None:
    """Both YR and YQ decode to the byte "a": two texts for one value would break comparison."""
    with pytest.raises(MessageError, match="it is not"):
        decode_base64url(text, "it")


@pytest.mark.parametrize("text", ["YQ", "YR==", "YQ==\n", "Y*==", "YWI-"])
def test_base64_in_any_other_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="base64"):
        decode_base64(text)
    assert decode_base64("YQ==") == b"a"
