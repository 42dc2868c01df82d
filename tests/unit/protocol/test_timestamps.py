import pytest

from retainer.protocol.errors import MessageError
from retainer.protocol.timestamps import format_timestamp, parse_timestamp


@pytest.mark.parametrize(
    ("text", "unix"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-01-02T03:04:05Z", 1_767_323_045),
        ("2026-01-02t03:04:05z", 1_767_323_045),
        ("2026-01-02T03:04:05.999999999Z", 1_767_323_045),
        ("2026-01-02T05:04:05+02:00", 1_767_323_045),
        ("9999-12-31T23:59:59.999999Z", 253_402_300_799),
        ("0001-01-01T00:00:00Z", -62_135_596_800),
    ],
)
def test_timestamps_are_read_to_the_second(text: str, unix: int) -> None:
    assert parse_timestamp(text, "expires") == unix
    assert parse_timestamp(format_timestamp(unix), "expires") == unix


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-02",
        "2026-01-02T03:04:05",
        "2026-01-02 03:04:05Z",
        "2026-13-02T03:04:05Z",
        "2026-01-02T03:04:61Z",
        "2026-01-02T03:04:05Z\n",
        "20260102T030405Z",
        "1767323045",
        "2026-01-02T03:04:05+99:99",
        "٢٠٢٦-01-02T03:04:05Z",
    ],
)
def test_other_times_are_refused_by_name(text: str) -> None:
    with pytest.raises(MessageError, match="expires"):
        parse_timestamp(text, "expires")


@pytest.mark.parametrize("unix", [2**63, -(2**63), 253_402_300_800])
def test_a_time_without_a_year_has_no_text(unix: int) -> None:
    with pytest.raises(MessageError):
        format_timestamp(unix)
