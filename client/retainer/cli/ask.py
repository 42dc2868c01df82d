"""`retainer ask`: requests that are paid for, answers to stdout, what they cost to stderr."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import click
import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from solders.pubkey import Pubkey

from retainer.cli.budget import Budget, budgeted_client
from retainer.cli.consent import consenting
from retainer.cli.failures import ExitStatus
from retainer.cli.options import Options
from retainer.flows.answers import RECEIPT_EXTENSION, problem_of
from retainer.protocol.amounts import format_amount
from retainer.protocol.encoding import Json
from retainer.protocol.receipts import Receipt
from retainer.protocol.views import SessionView


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask, how often, and what it may cost."""

    url: str
    method: str | None
    data: str | None
    headers: tuple[str, ...]
    budget: Budget
    session: Pubkey | None
    idempotency_key: str | None
    times: int
    yes: bool

    def __post_init__(self) -> None:
        if self.idempotency_key is not None and self.times > 1:
            raise click.UsageError("one --idempotency-key stands for one request: leave out --times")

    def parameters(self) -> dict[str, object]:
        """What httpx builds the request from."""
        pairs = [header.partition(":") for header in self.headers]
        return {"headers": [(name.strip(), value.strip()) for name, _, value in pairs], "content": self._content()}

    def _content(self) -> bytes | None:
        if self.data is None:
            return None
        if not self.data.startswith("@"):
            return self.data.encode()
        try:
            return Path(self.data[1:]).read_bytes()
        except OSError as error:
            raise click.UsageError(f"{self.data[1:]} cannot be read: {error.strerror}") from None


async def ask_times(options: Options, question: Question) -> ExitStatus:
    """Ask, print, and return the exit status that the last answer deserves."""
    method = question.method or ("GET" if question.data is None else "POST")
    answers: list[Json] = []
    status = ExitStatus.OK
    last: Receipt | None = None
    progress = Progress(
        TextColumn("asking"),
        BarColumn(),
        MofNCompleteColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=question.times == 1 or not sys.stderr.isatty(),
    )

    @contextmanager
    def aside() -> Iterator[None]:
        """The bar gives way to a question."""
        progress.stop()
        yield
        progress.start()

    consent = consenting(yes=question.yes, as_json=options.as_json, aside=nullcontext if progress.disable else aside)
    async with budgeted_client(options, question.budget, consent) as client:
        with progress:
            task = progress.add_task("asking", total=question.times)
            for _ in range(question.times):
                response = await client.request(
                    method,
                    question.url,
                    session=None if question.session is None else str(question.session),
                    idempotency_key=question.idempotency_key,
                    **question.parameters(),
                )
                progress.advance(task)
                last = response.extensions.get(RECEIPT_EXTENSION, last)
                answers.append(_answer_json(response))
                if not options.as_json:
                    _print_answer(response, several=question.times > 1)
                status = _status_of(response)
                if status is not ExitStatus.OK:
                    break
        view = None if last is None else await client.get_session(str(last.reference))
    if options.as_json:
        session = None if view is None else view.to_json()
        click.echo(json.dumps({"answers": answers, "session": session}, indent=2, ensure_ascii=False))
    elif view is not None and last is not None:
        click.echo(_cost_words(last, view), err=True)
    return status


def _status_of(response: httpx.Response) -> ExitStatus:
    if response.status_code == HTTPStatus.PAYMENT_REQUIRED:
        return ExitStatus.REFUSED
    return ExitStatus.ANSWERED_ERROR if response.is_error else ExitStatus.OK


def _print_answer(response: httpx.Response, *, several: bool) -> None:
    problem = problem_of(response)
    if problem is not None:
        click.echo(f"{response.status_code} {problem.title}: {problem.detail}", err=True)
        return
    if response.is_error:
        click.echo(f"{response.status_code} {response.reason_phrase}", err=True)
    click.echo(response.content, nl=several or sys.stdout.isatty())


def _answer_json(response: httpx.Response) -> dict[str, Json]:
    receipt = response.extensions.get(RECEIPT_EXTENSION)
    return {
        "status": response.status_code,
        "body": response.text,
        "receipt": receipt.to_json() if receipt else None,
    }


def _cost_words(receipt: Receipt, view: SessionView) -> str:
    def shown(units: int) -> str:
        return format_amount(units, view.token.decimals)

    metered = receipt.retainer.metered if receipt.retainer else None
    if metered is None:
        cost = "paid"
    elif metered.charged:
        cost = f"charged {shown(metered.amount)}"
    else:
        cost = f"not charged: {metered.term} was not kept"
    left = "" if view.requests_left is None else f" · {view.requests_left} requests left"
    return f"{cost} · spent {shown(view.spent)} of {shown(view.deposit)}{left} · session {view.session_id}"
