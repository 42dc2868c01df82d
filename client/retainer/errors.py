"""What the client raises, as a tree; every message says what happened to the money and what to do.

RetainerError
└── ClientError
    ├── WalletError              a keypair file that cannot be used
    ├── StoreError               a session record that cannot be kept or read
    ├── RefusedError             the caller's own rules forbid it; nothing was signed
    │   ├── PinError             another network, program, host or token than the caller trusts
    │   ├── CapError             more money, or for longer, than the caller allows
    │   └── DeclinedError        whoever was shown what would be signed said no
    ├── OfferError               the service asks for something that no session of ours can pay
    ├── SessionError             a session that cannot do what was asked of it
    │   ├── UnknownSessionError
    │   ├── NotDueError              a withdrawal before the deadline; come back then
    │   ├── OpeningRefusedError      the service did not accept the deposit
    │   ├── OpeningUnconfirmedError  the deposit is on its way; ask again
    │   ├── TopUpRefusedError
    │   ├── TopUpUnconfirmedError    the top-up is on its way; ask again
    │   ├── CloseRefusedError
    │   └── CloseUnconfirmedError    the settlement is on its way; ask again
    └── DishonestServiceError    receipts or a settlement that contradict what was done
        ├── ReceiptError
        └── SettlementError
"""

import httpx

from retainer.protocol.errors import RetainerError
from retainer.protocol.problems import Problem


class ClientError(RetainerError):
    """Root of what the client raises."""


class WalletError(ClientError):
    """A keypair file that is missing, readable by others, or no keypair."""


class StoreError(ClientError):
    """A session record that cannot be read, or a write that would lose money."""


class RefusedError(ClientError):
    """The caller's own rules forbid it. Raised before anything is signed."""


class PinError(RefusedError):
    """A network, program, host or token that the caller does not trust."""


class CapError(RefusedError):
    """More money, or money for longer, than the caller allows."""


class DeclinedError(RefusedError):
    """Whoever was shown what would be signed said no."""


class OfferError(ClientError):
    """An offer that contradicts itself, or that this client has no way to pay."""


class SessionError(ClientError):
    """A session that cannot do what was asked; ``session_id`` is its address."""

    def __init__(self, message: str, session_id: str, problem: Problem | None = None) -> None:
        super().__init__(message)
        self.session_id = session_id
        self.problem = problem


class UnknownSessionError(SessionError):
    """No record of this session here, and no account at this address on chain."""


class NotDueError(SessionError):
    """A withdrawal before the deadline. ``available_at`` (Unix seconds of the chain) is when to come back."""

    def __init__(self, message: str, session_id: str, *, available_at: int) -> None:
        super().__init__(message, session_id)
        self.available_at = available_at


class OpeningRefusedError(SessionError):
    """The service did not accept the opening; ``problem`` says why."""


class OpeningUnconfirmedError(SessionError):
    """The deposit was signed and handed over, and is not confirmed yet. The same call takes it up again."""


class TopUpRefusedError(SessionError):
    """The session takes no top-up, it came to nothing, or the service does not count it; the message says which."""


class TopUpUnconfirmedError(SessionError):
    """The top-up was signed and handed over, and is not confirmed yet. The same call takes it up again.

    ``refused``: the service answered that it does not take it, with or without a ``problem``; it may land all the same.
    """

    def __init__(self, message: str, session_id: str, problem: Problem | None = None, *, refused: bool = False) -> None:
        """See the class."""
        super().__init__(message, session_id, problem)
        self.refused = refused


class CloseRefusedError(SessionError):
    """The service did not close the session; ``problem`` says why."""


class CloseUnconfirmedError(SessionError):
    """The session is closing and its settlement not final yet. The same call takes it up again."""


class DishonestServiceError(ClientError):
    """The service's statements contradict what this client did or what the chain shows.

    ``response`` is the answer that carried the statement, where there was one: it has been read and can be used.
    """

    def __init__(self, message: str, session_id: str, response: httpx.Response | None = None) -> None:
        super().__init__(message)
        self.session_id = session_id
        self.response = response


class ReceiptError(DishonestServiceError):
    """A receipt that is forged, foreign, or accounts for requests that were not made."""


class SettlementError(DishonestServiceError):
    """A settlement on chain that paid other than the receipts say."""
