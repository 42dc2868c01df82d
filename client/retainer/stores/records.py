"""Sessions as text, and the certainty that a text read back is the session that was asked for."""

import json

from solders.pubkey import Pubkey

from retainer.channels.channel import Channel
from retainer.channels.channel_json import channel_from_json, channel_to_json
from retainer.errors import StoreError
from retainer.protocol.encoding import Json, read_json
from retainer.protocol.errors import MessageError


def channel_to_text(channel: Channel) -> str:
    """One line of JSON; amounts are decimal strings in it, because JSON numbers cannot hold 64 bits."""
    return json.dumps(channel_to_json(channel), separators=(",", ":"))


def channel_from_text(text: str, payer: Pubkey, session_id: str) -> Channel:
    """The session in ``text``; StoreError when it cannot be read, or is another one than its key says."""
    channel = channel_from_json(json_from_text(text, f"session {session_id}"))
    if (channel.payer, channel.session_id) != (payer, session_id):
        raise StoreError(f"the record of session {session_id} holds session {channel.session_id} of {channel.payer}")
    return channel


def json_from_text(text: object, what: str) -> Json:
    """What a store returned, as JSON; StoreError names ``what`` it was to be."""
    if not isinstance(text, str):
        raise StoreError(f"the record of {what} is {type(text).__name__} and not text")
    try:
        return read_json(text.encode("utf-8"), f"the record of {what}")
    except (MessageError, UnicodeEncodeError) as error:
        raise StoreError(f"the record of {what} cannot be read: {error}") from None
