"""The preview before a signature, and the question after it."""

import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import click

from retainer.cli.words import moment
from retainer.flows.preview import Consent, Preview
from retainer.protocol.amounts import format_amount
from retainer.protocol.encoding import Json

_WIDTH = 14

yes_option = click.option(
    "-y", "--yes", is_flag=True, help="Do not ask before a deposit is signed, only say what it is."
)


def consenting(
    *, yes: bool, as_json: bool, aside: Callable[[], AbstractContextManager[object]] = nullcontext
) -> Consent:
    """Shows each preview on stderr, and asks where somebody sits at a terminal, unless ``yes``.

    Elsewhere the amounts that a command names, and its caps, are the answer. ``aside`` makes room on the terminal.
    """

    async def consent(preview: Preview) -> bool:
        with aside():
            if as_json:
                click.echo(json.dumps({"preview": preview_json(preview)}), err=True)
            else:
                click.echo(preview_words(preview), err=True)
            if yes or not (sys.stdin.isatty() and sys.stderr.isatty()):
                return True
            try:
                return click.confirm("Sign it?", err=True)
            except click.Abort:  # the end of input, or Ctrl-C: no yes
                return False

    return consent


def preview_words(preview: Preview) -> str:
    """What would be signed, line by line."""

    def shown(units: int) -> str:
        return format_amount(units, preview.decimals)

    token = f"{preview.symbol} ({preview.mint})" if preview.symbol else str(preview.mint)
    facts = {
        "service": f"{preview.url}, settled by {preview.operator}, paid to {preview.payee}",
        "network": f"{preview.network}{', where tokens are worth nothing' if preview.network == 'localnet' else ''}",
        "token": f"{token}, {preview.decimals} decimals",
        "price": f"{shown(preview.price)} a request at most",
        "deposit": _deposit(preview, shown),
        "worst case": _worst_case(preview, shown),
        "expires": moment(preview.expires_at) if preview.expires_at else "never",
        "exit": _exit(preview),
    }
    title = "About to open a session" if preview.session_id is None else f"About to top up {preview.session_id}"
    lines = [f"{title}:", *(f"  {name:{_WIDTH}}{fact}" for name, fact in facts.items())]
    if preview.imitates is not None:
        warning = f"  LOOK-ALIKE: this token calls itself like {preview.imitates} and is another one"
        lines.append(click.style(warning, fg="red", bold=True))
    return "\n".join(lines)


def preview_json(preview: Preview) -> dict[str, Json]:
    """The same for programs; amounts as decimal strings of base units."""
    return {
        "action": "open" if preview.session_id is None else "top-up",
        "sessionId": preview.session_id,
        "url": preview.url,
        "network": str(preview.network),
        "mint": str(preview.mint),
        "symbol": preview.symbol,
        "imitates": preview.imitates,
        "decimals": preview.decimals,
        "price": str(preview.price),
        "added": str(preview.added),
        "deposit": str(preview.deposit),
        "atRisk": str(preview.at_risk),
        "inEscrow": preview.in_escrow,
        "operator": str(preview.operator),
        "payee": str(preview.payee),
        "expiresAt": preview.expires_at or None,
        "gracePeriod": preview.grace_period,
    }


def _deposit(preview: Preview, shown: Callable[[int], str]) -> str:
    fees = ", fees and rent paid by the service" if preview.sponsored else ""
    if preview.session_id is None:
        return f"{shown(preview.added)}{fees}"
    return f"{shown(preview.added)} more, {shown(preview.deposit)} then{fees}"


def _worst_case(preview: Preview, shown: Callable[[int], str]) -> str:
    if not preview.in_escrow:
        return f"all of {shown(preview.at_risk)} lost: the provider holds the money, and only its word returns it"
    if preview.takes_vouchers:
        return f"{shown(preview.at_risk)} lost for each request under way; you sign each amount"
    return (
        f"{shown(preview.at_risk)} lost, if the provider claims requests that it never served; receipts would show it"
    )


def _exit(preview: Preview) -> str:
    if not preview.in_escrow:
        return "`retainer close` asks the provider to pay back; nothing can make it"
    return (
        "`retainer close` at any time; without the service `retainer request-close`, then `retainer withdraw` after "
        f"{preview.grace_period} s"
    )
