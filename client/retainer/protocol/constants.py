"""Names, addresses and limits that leave the process; each is fixed by the program, the wire draft or Solana."""

from enum import StrEnum
from typing import Final

from solders.pubkey import Pubkey

PROGRAM_ID: Final = Pubkey.from_string("reUf7A1fqcJL4gQQmEbTReMuidTJnUF48pJUddZqnZT")
# The Solana Foundation's deployment on mainnet: same `open` and `topUp`, so retainer's client may pay there too.
PAYMENT_CHANNELS_PROGRAM_ID: Final = Pubkey.from_string("CHNLxYvVA28MJP9PrFuDXccuoGXAx7jBacfLEkahyGsX")

TOKEN_PROGRAM_ID: Final = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
TOKEN_2022_PROGRAM_ID: Final = Pubkey.from_string("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb")
ATA_PROGRAM_ID: Final = Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")
SYSTEM_PROGRAM_ID: Final = Pubkey.from_string("11111111111111111111111111111111")
COMPUTE_BUDGET_PROGRAM_ID: Final = Pubkey.from_string("ComputeBudget111111111111111111111111111111")
ED25519_PROGRAM_ID: Final = Pubkey.from_string("Ed25519SigVerify111111111111111111111111111")
RENT_SYSVAR_ID: Final = Pubkey.from_string("SysvarRent111111111111111111111111111111111")
INSTRUCTIONS_SYSVAR_ID: Final = Pubkey.from_string("Sysvar1nstructions1111111111111111111111111")
CLOCK_SYSVAR_ID: Final = Pubkey.from_string("SysvarC1ock11111111111111111111111111111111")

U64_MAX: Final = 2**64 - 1
I64_MAX: Final = 2**63 - 1
# RFC 8785 numbers are IEEE doubles: larger integers travel as decimal strings.
JSON_INTEGER_MAX: Final = 2**53 - 1

# For so many blocks after its blockhash can a transaction land.
TRANSACTION_LIFE: Final = 150
OPEN_SLOT_WINDOW: Final = 1500
MIN_GRACE_PERIOD: Final = 900
MAX_GRACE_PERIOD: Final = 2_592_000
MAX_EXPIRY_AHEAD: Final = 31_536_000
MAX_IDLE_TIMEOUT: Final = 2_592_000
MAX_TRANSACTION_BYTES: Final = 1232

SCHEME: Final = "Payment"
METHOD: Final = "solana"
INTENT: Final = "session"

HEADER_CHALLENGE: Final = "WWW-Authenticate"
HEADER_CREDENTIAL: Final = "Authorization"
HEADER_IDEMPOTENCY_KEY: Final = "Idempotency-Key"
HEADER_RECEIPT: Final = "Payment-Receipt"
HEADER_SESSION: Final = "Payment-Session"
# Units that one request may cost: the most that a client sends it for, and what a service behind the gate says it used.
HEADER_MAX_UNITS: Final = "Retainer-Max-Units"
HEADER_UNITS: Final = "Retainer-Units"
# The event that ends a metered stream: its data is the value of a `Payment-Receipt` header.
RECEIPT_EVENT: Final = "payment-receipt"
MAX_UNITS: Final = 1_000_000

# The draft asks servers for at least 4 KiB of credential; an open transaction with its proof needs under 5.
MAX_CREDENTIAL_BYTES: Final = 32_768
MAX_CHALLENGE_BYTES: Final = 32_768
MIN_CHALLENGE_SECRET_BYTES: Final = 32


class Network(StrEnum):
    """The clusters that the wire draft knows."""

    MAINNET = "mainnet"
    DEVNET = "devnet"
    LOCALNET = "localnet"
