"""Sessions read the way Anchor users do: through the IDL, with anchorpy.

For those who work that way, and as a second opinion on our own layouts. Needs `pip install "retainer[anchorpy]"`;
nothing else of retainer imports this. anchorpy reads only the old form of IDL, so the program's is shipped in both.
"""

from collections.abc import Sequence
from dataclasses import fields
from importlib import resources
from typing import Any, Final

from anchorpy import EventParser, Idl, Program, Wallet
from anchorpy import Provider as AnchorProvider
from anchorpy.error import AccountDoesNotExistError, AccountInvalidDiscriminator
from construct import ConstructError
from solana.exceptions import SolanaRpcException
from solana.rpc.async_api import AsyncClient
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.chain.errors import ChainUnavailableError, ForeignAccountError
from retainer.protocol import events
from retainer.protocol.constants import PROGRAM_ID
from retainer.protocol.errors import LayoutError
from retainer.protocol.session import ChainStatus, EscrowKind, SessionAccount

_EVENTS: Final = {
    kind.__name__: kind
    for kind in (
        events.SessionOpened,
        events.SessionToppedUp,
        events.SessionSettled,
        events.SessionClosed,
        events.CloseRequested,
        events.SessionWithdrawn,
        events.SessionReclaimed,
    )
}


def anchor_program(rpc_url: str, program_id: Pubkey = PROGRAM_ID) -> Program:
    """Anchorpy's view of the program, to read with: its wallet is a key without money. Ends with `await .close()`."""
    idl = Idl.from_json((resources.files("retainer") / "artifacts" / "session_escrow.legacy.json").read_text())
    return Program(idl, program_id, AnchorProvider(AsyncClient(rpc_url), Wallet(Keypair())))


async def fetch_session(program: Program, address: Pubkey) -> SessionAccount | None:
    """The session at `address` as anchorpy reads it, or None where no account is; ForeignAccountError otherwise.

    anchorpy checks the discriminator alone, neither owner nor derivation: trust `chain.sessions` with money.
    """
    try:
        read = await program.account["Session"].fetch(address)
    except AccountDoesNotExistError:
        return None
    except (AccountInvalidDiscriminator, ConstructError) as error:
        raise ForeignAccountError(f"{address} is no session: {error}") from None
    except SolanaRpcException as error:
        raise ChainUnavailableError(f"the node did not answer: {error.__cause__}") from error
    values = _values(SessionAccount, read)
    values["status"] = ChainStatus(values["status"])
    values["escrow_kind"] = EscrowKind(values["escrow_kind"])
    return SessionAccount(**values)


def read_events(program: Program, logs: Sequence[str]) -> list[events.Event]:
    """The program's events in a transaction's logs as anchorpy reads them; LayoutError where it cannot.

    anchorpy loses its place in the logs of a failed inner call: trust `protocol.events` with money.
    """
    found: list[Any] = []
    try:
        EventParser(program.program_id, program.coder).parse_logs(list(logs), found.append)
    except (ConstructError, ValueError, IndexError) as error:
        raise LayoutError(f"anchorpy cannot read these logs: {error}") from None
    return [_EVENTS[event.name](**_values(_EVENTS[event.name], event.data)) for event in found]


def _values(record: type[Any], read: object) -> dict[str, Any]:
    # anchorpy gives byte arrays as lists of numbers.
    values = {field.name: getattr(read, field.name) for field in fields(record)}
    return {name: bytes(value) if isinstance(value, list) else value for name, value in values.items()}
