"""The operator's keypair and the challenge secrets: read once, checked, never shown (F26, F28)."""

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
from solders.keypair import Keypair

from retainer.protocol.constants import MIN_CHALLENGE_SECRET_BYTES
from retainer.protocol.signing import Signer
from retainer_provider.local_key import LocalKey
from retainer_provider.offers import Offer
from retainer_provider.settings import KeySource, ServiceSettings, SettingsError, environment_secret
from retainer_provider.signers import CommandSigner, SigningError

# Random text of 32 bytes has far more; what has fewer was typed, or repeats itself.
_FEWEST_DISTINCT_CHARACTERS: Final = 10
_KEYPAIR_BYTES: Final = 64
# Begins like nothing else that these keys sign: transactions, receipts, vouchers.
_TRIAL: Final = b"retainer-trial-v1"


@dataclass(frozen=True, slots=True)
class Keys:
    """What only this service knows: `operator` signs receipts and settlements, `secrets` sign challenges.

    `sponsor` signs as fee payer of deposits. `refund` is the payee's own key, which sends back what is left of
    custodial sessions: the operator's where that one is the payee, None where nothing custodial can be offered.
    """

    operator: Signer = field(repr=False)
    secrets: Sequence[bytes] = field(repr=False)
    sponsor: Signer | None = field(default=None, repr=False)
    refund: Signer | None = field(default=None, repr=False)


def load_keys(service: ServiceSettings) -> Keys:
    """All of them; SettingsError names the file that is wrong and what to do."""
    operator = _load_signer("operator", service.operator_source)
    sponsor = None if service.sponsor_source is None else _load_signer("sponsor", service.sponsor_source)
    # Agents write the transactions that it signs: it must be worth nothing in them.
    if sponsor is not None and sponsor.pubkey() in (operator.pubkey(), service.payee):
        raise SettingsError("the sponsor's key is the operator's or the payee's: make a key that only pays fees")
    return Keys(operator, load_secrets(service), sponsor, _load_refund_key(service, operator))


def wrong_keys(service: ServiceSettings) -> dict[str, str]:
    """What is wrong with each of them, by its name, as the sentence of the SettingsError; empty when all are right."""
    loads: dict[str, Callable[[], object]] = {
        "operator key": partial(_load_signer, "operator", service.operator_source),
        "challenge secret": partial(load_secrets, service),
    }
    if service.sponsor_source is not None:
        loads["sponsor key"] = partial(_load_signer, "sponsor", service.sponsor_source)
    wrong = {name: told for name, load in loads.items() if (told := _complaint(load))}
    together = None if wrong else _complaint(partial(load_keys, service))
    return wrong if together is None else {"keys": together}


def _complaint(load: Callable[[], object]) -> str | None:
    try:
        load()
    except SettingsError as error:
        return str(error)
    return None


def require_refund_key(keys: Keys, offers: Iterable[Offer]) -> None:
    """SettingsError where an offer is custodial and the service could not send back what it holds."""
    custodial = [offer.id for offer in offers if not offer.anchor_on_chain]
    if custodial and keys.refund is None:
        raise SettingsError(
            f"[offers.{custodial[0]}]: without `anchor_on_chain` refunds come out of the payee's token account: set "
            "`refund_keypair` in [service] to the payee's keypair"
        )


def _load_refund_key(service: ServiceSettings, operator: Signer) -> Signer | None:
    payee = service.payee or operator.pubkey()
    if service.refund_keypair is None:
        return operator if payee == operator.pubkey() else None
    refund = load_keypair(service.refund_keypair)
    if refund.pubkey() != payee:
        raise SettingsError(
            f"`refund_keypair` is {refund.pubkey()}, but the payee is {payee}: give the payee's keypair"
        )
    return refund


def _load_signer(role: str, source: KeySource) -> Signer:
    """The key from wherever it lies; a command is asked for one signature, so that a wrong one fails at start."""
    if source.file is not None:
        return LocalKey(load_keypair(source.file))
    if source.env is not None:
        text = environment_secret(source.env)
        if text is None:
            raise SettingsError(f"the {role}'s key is to be in the environment, but {source.env} is not set")
        return LocalKey(_keypair(text, f"the variable {source.env}"))
    signer = CommandSigner(source.command, source.key, timeout=source.timeout_seconds)
    try:
        signer.sign_message(_TRIAL)
    except SigningError as error:
        raise SettingsError(f"the {role}'s key: {error}") from None
    return signer


def load_keypair(path: Path) -> Keypair:
    """The keypair in a Solana CLI file (a JSON array of 64 numbers), readable by its owner only."""
    return _keypair(_read_private(path, "operator keypair"), str(path))


def _keypair(raw: str, source: str) -> Keypair:
    try:
        return Keypair.from_bytes(bytes(msgspec.json.decode(raw, type=list[int])))
    except (msgspec.MsgspecError, ValueError):
        raise SettingsError(
            f"{source} is not a Solana keypair (a JSON array of {_KEYPAIR_BYTES} numbers whose halves belong "
            "together); `solana-keygen new` or `retainer-provider init` make one"
        ) from None


def load_secrets(service: ServiceSettings) -> Sequence[bytes]:
    """The secrets that sign challenges: the first signs, the others (rotated out) still verify.

    `secret` goes before `secret_file`, which has one per line.
    """
    if service.secret is not None:
        lines, source = [service.secret], "`secret`"
    elif service.secret_file is not None:
        lines, source = _read_private(service.secret_file, "secret file").splitlines(), str(service.secret_file)
    else:
        raise SettingsError(
            "no challenge secret: set `secret_file` to a file with the output of `openssl rand -hex 32`"
        )
    secrets = [line.strip().encode() for line in lines if line.strip()]
    if not secrets:
        raise SettingsError(f"{source} holds no secret: write the output of `openssl rand -hex 32` into it")
    for secret in secrets:
        if len(secret) < MIN_CHALLENGE_SECRET_BYTES or len(set(secret)) < _FEWEST_DISTINCT_CHARACTERS:
            raise SettingsError(
                f"{source} holds a weak secret: at least {MIN_CHALLENGE_SECRET_BYTES} random bytes are needed, "
                "such as `openssl rand -hex 32` prints"
            )
    return secrets


def write_private(path: Path, text: str) -> None:
    """Create a file that only its owner can read; FileExistsError rather than overwrite a key."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def keypair_text(keypair: Keypair) -> str:
    """The keypair as Solana's CLI writes it."""
    return msgspec.json.encode(list(bytes(keypair))).decode()


def _read_private(path: Path, what: str) -> str:
    try:
        if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise SettingsError(f"{what} {path} can be read by others: run `chmod 600 {path}`")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"cannot read {what} {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{what} {path} is not text") from None
