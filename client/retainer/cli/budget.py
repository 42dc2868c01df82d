"""What a command may spend: the options that say so, and the client that keeps to them."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import wraps
from pathlib import Path
from typing import Any

import click
from solders.pubkey import Pubkey

from retainer.cli.options import Options, address
from retainer.flows.preview import Consent
from retainer.session_client import SessionClient
from retainer.trust.caps import SpendingCaps, TopUpPolicy
from retainer.wallet import load_keypair


@dataclass(frozen=True, slots=True)
class Budget:
    """The options as given: amounts are in the token's units."""

    deposit: str | None
    top_up: str | None
    max_deposit: str | None
    max_per_day: str | None
    max_price: str | None
    mints: tuple[Pubkey, ...]
    receipts: Path | None
    custodial: bool

    def __post_init__(self) -> None:
        if self.top_up is not None and self.max_deposit is None:
            raise click.UsageError("say with --max-deposit up to where --top-up may add to a session")

    @property
    def caps(self) -> SpendingCaps:
        """The user's bounds."""
        return SpendingCaps(
            per_session=self.max_deposit or self.deposit,
            per_request=self.max_price,
            per_day=self.max_per_day,
            mints=frozenset(self.mints) if self.mints else None,
        )

    @property
    def topping_up(self) -> TopUpPolicy | None:
        """When sessions get more: when less than one request is left."""
        return None if self.top_up is None else TopUpPolicy(below=0, amount=self.top_up)

    def without_asking(self) -> "Budget":
        """The same for a caller that nobody watches: a session gets as much again whenever it is empty, all day long.

        UsageError where nothing bounds that.
        """
        if self.deposit is None or self.max_per_day is None:
            raise click.UsageError(
                "say with --deposit what a session is opened and topped up with, and with --max-per-day how much may "
                "be spent within 24 hours: --deposit 0.5 --max-per-day 2.0"
            )
        return replace(self, top_up=self.top_up or self.deposit, max_deposit=self.max_deposit or self.max_per_day)


def budgeted(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a budget to a command that `spends`, which then gets them as ``budget``."""

    @click.option("--deposit", help="What a session may be opened with, in the token's units.")
    @click.option("--top-up", help="What is added when a session cannot pay one more request; needs --max-deposit.")
    @click.option("--max-deposit", help="The most that a session may hold, top-ups included.  [default: --deposit]")
    @click.option(
        "--max-per-day",
        help="The most that may be spent within 24 hours, open deposits included, by all that use the same --store.",
    )
    @click.option("--max-price", help="The most that one request may cost, in the token's units.")
    @click.option(
        "--token",
        "mints",
        type=address,
        multiple=True,
        help="A token that may be spent.  [default: USDC; on localnet any]",
    )
    @click.option(
        "--receipts",
        type=click.Path(file_okay=False, path_type=Path),
        help="A folder to keep receipts in, with what you saw yourself; `retainer audit settlement` reads it.",
    )
    @click.option(
        "--custodial",
        is_flag=True,
        help="Pay also where the provider holds the money itself, and no escrow returns it.",
    )
    @wraps(command)
    def with_budget(**parameters: Any) -> None:  # noqa: ANN401 - click has checked them
        budget = Budget(**{field.name: parameters.pop(field.name) for field in fields(Budget)})
        command(budget=budget, **parameters)

    return with_budget


def budgeted_client(options: Options, budget: Budget, consent: Consent | None = None) -> SessionClient:
    """A client that spends within the budget and keeps its sessions where the options say."""
    return SessionClient(
        load_keypair(options.keypair),
        rpc_url=options.rpc_url,
        pins=options.pins,
        caps=budget.caps,
        deposit=budget.deposit,
        top_up=budget.topping_up,
        store=options.keeper(),
        receipts=budget.receipts,
        allow_custodial=budget.custodial,
        consent=consent,
    )
