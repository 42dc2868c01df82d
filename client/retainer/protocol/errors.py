"""What the kernel raises. Every message is a sentence that says what was wrong and, where possible, what to do."""


class RetainerError(Exception):
    """Root of every error that retainer raises on purpose."""


class AmountError(RetainerError):
    """An amount that is not a whole number of base units between 0 and 2**64 - 1."""


class LayoutError(RetainerError):
    """Bytes of an account, event or instruction that do not have the layout they should have."""


class MessageError(RetainerError):
    """A wire message (header, credential, challenge, receipt, problem) that is malformed; names the field."""


class ChallengeError(RetainerError):
    """A challenge that cannot be issued as asked."""


class TransactionError(RetainerError):
    """A transaction that is not what its submitter says it is, or contains more than it may."""


class SignatureError(RetainerError):
    """A signature that does not verify."""


class TermsError(RetainerError):
    """SLA terms that contradict themselves or the hash they were committed under."""
