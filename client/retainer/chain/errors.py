"""What a chain raises, as a tree. Only the first three are about the node; none of them says whether money moved.

RetainerError
└── ChainError
    ├── ChainUnavailableError      no usable answer: ask again, or ask another node
    ├── SendOutcomeUnknownError    the transaction may have been sent: look its signature up
    ├── TransactionRefusedError    the node did not send it: it cannot land in this form now
    └── ForeignAccountError        an account that is not what its address was said to be
"""

from retainer.protocol.errors import RetainerError


class ChainError(RetainerError):
    """Root of what `retainer.chain` raises."""


class ChainUnavailableError(ChainError):
    """The node did not answer, answered nonsense, or is behind. Nothing was learned; ask again."""


class SendOutcomeUnknownError(ChainError):
    """The node may or may not have sent the transaction. Only the chain can tell: look up `signature`."""

    def __init__(self, message: str, signature: str) -> None:
        super().__init__(message)
        self.signature = signature


class TransactionRefusedError(ChainError):
    """The node's check refused the transaction, and it was not sent.

    `error` is the runtime's error (see `base.program_error`), `program_error` the number that a program returned, or
    None when the runtime itself refused; `logs` are the lines of the simulated run.
    """

    def __init__(self, error: str, *, program_error: int | None = None, logs: tuple[str, ...] = ()) -> None:
        super().__init__(f"the transaction was refused before it was sent: {error}")
        self.error = error
        self.program_error = program_error
        self.logs = logs


class ForeignAccountError(ChainError):
    """An account of another program, of another layout, or at another address than its own fields derive."""
