"""Who and what a session needs, described by a `Run`: people, a mint, token accounts, addresses."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from solders.account import Account
from solders.pubkey import Pubkey

from retainer.protocol.layouts import decode_session
from retainer.protocol.pda import SessionSeeds, derive_ata, derive_session, derive_vault
from retainer.protocol.session import SessionAccount
from tests.program.harness.tokens import Tlv, TokenProgram, mint_account, read_balance, token_account
from tests.program.harness.world import World

WALLET = 10_000_000
"""Base units that every person's token account starts with."""


class Mode(Enum):
    """Who authorizes amounts: the operator, or vouchers that a key of the agent's signs."""

    METERED = "metered"
    VOUCHER = "voucher"


class Opening(Enum):
    """Which instruction opened the session."""

    STOCK = "stock"
    TERMS = "terms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Everything about a session that tests vary. `lifetime` in seconds, None for never; amounts in base units."""

    mode: Mode = Mode.METERED
    token: TokenProgram = TokenProgram.SPL
    opening: Opening = Opening.TERMS
    deposit: int = 1_000_000
    grace: int = 900
    price: int = 8_000
    lifetime: int | None = 86_400
    salt: int = 7
    sponsored: bool = True
    batch: bool = False
    mint_extensions: Sequence[Tlv] = ()

    def __str__(self) -> str:
        return f"{self.mode.value}-{self.token.value}-{self.opening.value}"


EVERY_KIND = tuple(
    Run(mode=mode, token=token, opening=opening) for mode in Mode for token in TokenProgram for opening in Opening
)
"""Both modes, both token programs, both ways in."""
WITH_TERMS = tuple(run for run in EVERY_KIND if run.opening is Opening.TERMS)
STOCK = tuple(run for run in EVERY_KIND if run.opening is Opening.STOCK)
METERED = tuple(run for run in EVERY_KIND if run.mode is Mode.METERED)
VOUCHERS = tuple(run for run in EVERY_KIND if run.mode is Mode.VOUCHER)


class Cast:
    """One run's people, their token accounts and addresses. Several may share a world, named apart by `cast`."""

    def __init__(self, run: Run, *, world: World | None = None, cast: str = "") -> None:
        self.run = run
        self.world = world or World()
        self.payer = self.world.person(f"{cast}payer")
        self.payee = self.world.person(f"{cast}payee")
        self.operator = self.payee if run.opening is Opening.STOCK else self.world.person(f"{cast}operator")
        self.voucher_key = self.world.person(f"{cast}voucher key")
        self.sponsor = self.world.person(f"{cast}sponsor") if run.sponsored else self.payer
        self.stranger = self.world.person(f"{cast}stranger")
        self.issuer = self.world.keypair("issuer")
        self.mint = self.new_mint("mint", extensions=run.mint_extensions)
        self.payer_token, self.payee_token, self.stranger_token = (
            self.new_wallet(person.pubkey()) for person in (self.payer, self.payee, self.stranger)
        )
        self.open_slot = self.world.slot
        self._account: SessionAccount | None = None

    def new_mint(self, name: str, *, extensions: Sequence[Tlv] = (), token: TokenProgram | None = None) -> Pubkey:
        """A mint that the issuer may mint of and freeze; the same name gives the same address."""
        program = token or self.run.token
        account = mint_account(
            program,
            supply=10**15,
            mint_authority=self.issuer.pubkey(),
            freeze_authority=self.issuer.pubkey(),
            extensions=extensions,
        )
        address = self.world.keypair(f"{program.value} {name}").pubkey()
        return address if self.world.get(address) else self.world.put(address, account)

    def new_wallet(self, owner: Pubkey, *, mint: Pubkey | None = None, token: TokenProgram | None = None) -> Pubkey:
        """The owner's associated token account, filled when it is new."""
        program, kind = token or self.run.token, mint or self.mint
        address = derive_ata(owner, kind, program.id)
        filled = token_account(program, kind, owner, WALLET)
        return address if self.world.get(address) else self.world.put(address, filled)

    def put_token(self, name: str, account: Account) -> Pubkey:
        """A raw token account at an address of this name."""
        return self.world.put(self.world.keypair(name).pubkey(), account)

    def balance(self, address: Pubkey) -> int:
        """Base units in a token account; 0 where there is none."""
        account = self.world.get(address)
        balance = read_balance(account) if account else None
        return balance.amount if balance else 0

    def lamports(self, address: Pubkey) -> int:
        """Lamports of an account; 0 where there is none."""
        account = self.world.get(address)
        return account.lamports if account else 0

    @property
    def authorized_signer(self) -> Pubkey:
        """Whose word raises `settled`."""
        return (self.operator if self.run.mode is Mode.METERED else self.voucher_key).pubkey()

    @property
    def seeds(self) -> SessionSeeds:
        """What the session's address commits to."""
        return SessionSeeds(
            payer=self.payer.pubkey(),
            payee=self.payee.pubkey(),
            mint=self.mint,
            authorized_signer=self.authorized_signer,
            salt=self.run.salt,
            open_slot=self.open_slot,
        )

    @property
    def session(self) -> Pubkey:
        """The session's address."""
        return derive_session(self.seeds)[0]

    @property
    def escrow(self) -> Pubkey:
        """The escrow's address."""
        if self.run.opening is Opening.TERMS:
            return derive_vault(self.session)[0]
        return derive_ata(self.session, self.mint, self.run.token.id)

    @property
    def account(self) -> SessionAccount:
        """The session as the chain has it, or as it was last seen there."""
        account = self.world.get(self.session)
        if account is not None and account.data:
            self._account = decode_session(account.data)
        assert self._account is not None, "no session was opened"
        return self._account

    @property
    def gone(self) -> bool:
        """Whether neither the session nor its escrow exists."""
        return self.world.get(self.session) is None and self.world.get(self.escrow) is None
