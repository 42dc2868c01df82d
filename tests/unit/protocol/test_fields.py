from collections.abc import Callable

import pytest
from solders.signature import Signature

from retainer.protocol import fields
from retainer.protocol.errors import MessageError
from retainer.protocol.fields import Fields
from retainer.protocol.session import SessionState
from tests.unit.protocol.examples import PAYER

KEY = str(PAYER.pubkey())
SIGNATURE = str(PAYER.sign_message(b""))


@pytest.mark.parametrize(
    ("read", "values"),
    [
        (fields.text, [1, None, True, [], "\ud800"]),
        (fields.filled_text, ["", 1]),
        (fields.exactly("a", "b"), ["c", "", 1, "A"]),
        (fields.member(SessionState), ["ACTIVE", "", 1]),
        (fields.flag, [0, 1, "true", None]),
        (fields.integer(1, 5), [0, 6, True, 1.0, "1", None]),
        (fields.units, [1, "01", "-1", "18446744073709551616", "", " 1", None]),
        (fields.pubkey, [KEY[:-2], KEY + "1", "1" + KEY, " " + KEY, KEY + " ", "0" * 44, "", "1" * 31, 1, "9" * 5000]),
        (fields.signature, [SIGNATURE[:-2], SIGNATURE + "1", KEY, "", 1, "9" * 5000]),
        (fields.blockhash, [KEY[:-2], ""]),
        (fields.base64_bytes(3), ["", "YWJjZA==", "YQ", "YQ==\n", 1]),
        (fields.hex_digest, ["0" * 63, "0" * 65, "A" * 64, "g" * 64, 1]),
        (fields.text_map, [[], {"a": 1}, None]),
        (fields.list_of(fields.flag), [{}, [1], "true"]),
        (fields.no_splits, [[{}], {}, None]),
    ],
)
def test_a_bad_value_is_refused_under_the_name_of_its_field(
    read: Callable[[object], object], values: list[object]
) -> None:
    for value in values:
        with pytest.raises(MessageError, match=r"^message\.part\.field "):
            Fields({"field": value}, "message.part").require("field", read)


def test_good_values_are_read() -> None:
    members = Fields(
        {"key": KEY, "signature": SIGNATURE, "units": "7", "bytes": "YWJj", "list": [True], "map": {"a": "b"}},
        "message",
    )
    assert members.require("key", fields.pubkey) == PAYER.pubkey()
    assert members.require("signature", fields.signature) == Signature.from_string(SIGNATURE)
    assert members.require("units", fields.units) == 7
    assert members.require("bytes", fields.base64_bytes(3)) == b"abc"
    assert members.require("list", fields.list_of(fields.flag)) == (True,)
    assert members.require("map", fields.text_map) == {"a": "b"}
    assert members.optional("absent", fields.flag) is None
    for bound in (1, 5):
        assert Fields({"number": bound}, "message").require("number", fields.integer(1, 5)) == bound


def test_what_is_missing_unwanted_or_no_object_is_named() -> None:
    message = Fields({"there": 1, "nested": {"a": 1}}, "message")
    with pytest.raises(MessageError, match=r"message\.absent is missing"):
        message.require("absent", fields.text)
    with pytest.raises(MessageError, match=r"message\.absent is missing"):
        message.inside("absent")
    with pytest.raises(MessageError, match=r"message\.there must be a JSON object"):
        message.inside("there")
    with pytest.raises(MessageError, match=r"message\.there must go"):
        message.refuse("there", "must go")
    with pytest.raises(MessageError, match="'there'"):
        message.only("nested")
    with pytest.raises(MessageError, match="must be a JSON object"):
        Fields([], "message")
    assert message.inside_optional("absent") is None
    message.refuse("absent", "must go")
    message.only("there", "nested")


def test_a_field_of_null_is_not_an_absent_field() -> None:
    with pytest.raises(MessageError, match=r"message\.field must be a string"):
        Fields({"field": None}, "message").optional("field", fields.text)
