"""fuzz-wire: damaged messages raise the project's own errors and nothing else; the gate serves and charges none."""

import random
import secrets
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx

from retainer import SessionClient, create_channel_store, problem_of
from retainer.channels.channel import Channel
from retainer.errors import ReceiptError
from retainer.flows.offers import read_offers
from retainer.flows.opening import build_opening
from retainer.protocol.actions import OpenAction, TopUpAction, VoucherAction
from retainer.protocol.amounts import BaseUnits
from retainer.protocol.challenges import challenge_header, parse_challenge_headers
from retainer.protocol.constants import MAX_TRANSACTION_BYTES, TOKEN_PROGRAM_ID
from retainer.protocol.credentials import Credential, authorization_header, parse_authorization
from retainer.protocol.errors import RetainerError
from retainer.protocol.instructions import top_up
from retainer.protocol.pda import derive_ata, derive_vault
from retainer.protocol.receipts import parse_receipt
from retainer.protocol.transactions import inspect_open, inspect_top_up
from retainer.protocol.vouchers import Voucher, sign_voucher
from retainer.wallet import sign_transaction
from tools.evidence.mutations import damaged, damaged_header, damaged_inside
from tools.evidence.report import Report
from tools.evidence.upstream import Upstream, running
from tools.stage import Stage, stage

MUTATIONS, MUTATIONS_IN_CI = 100_000, 5_000
# Every so many, one goes to the running provider as well.
SHOWN = 20
# Everything comes from one address, and is to be judged by what it is.
LIMITS = {"deposit_wait_seconds": 2, "unpaid_requests_per_second": 0}
PRICE, DEPOSIT = 8_000, BaseUnits(1_000_000)


@dataclass(frozen=True, slots=True)
class Originals:
    """Real messages of one agent and one provider. The opening and the top-up were never sent."""

    session: Channel
    challenge: str
    receipt: str
    credentials: tuple[str, ...]
    opening: bytes
    topping_up: bytes


@dataclass(slots=True)
class Fuzz:
    """Counts what parsers and gate made of the damage."""

    rng: random.Random
    originals: Originals
    outcomes: Counter[str] = field(default_factory=Counter)
    foreign: Counter[str] = field(default_factory=Counter)

    def one(self) -> bytes | None:
        """Damage one message and parse it; the credential to show the gate, where it means something else now."""
        originals, rng = self.originals, self.rng
        match rng.randrange(5):
            case 0:
                value = damaged_header(rng, originals.challenge).decode("latin-1")
                self._parse("challenge", lambda: [each.session_request() for each in parse_challenge_headers([value])])
            case 1:
                value = damaged_header(rng, originals.receipt).decode("latin-1")
                self._parse("receipt", lambda: parse_receipt(value))
            case 2:
                return self._transaction()
            case _:
                return self._credential()
        return None

    def _credential(self) -> bytes | None:
        original = self.originals.credentials[self.rng.randrange(len(self.originals.credentials))]
        damage = damaged_inside if self.rng.random() < 0.7 else damaged_header  # noqa: PLR2004  more inside than out
        shown = damage(self.rng, original)
        parsed = self._parse("credential", lambda: parse_authorization(shown.decode("latin-1")))
        return None if parsed == parse_authorization(original) else shown

    def _transaction(self) -> bytes | None:
        originals = self.originals
        opens = self.rng.random() < 0.5  # noqa: PLR2004  one of two
        original = originals.opening if opens else originals.topping_up
        raw = damaged(self.rng, original)
        self._parse("opening", lambda: inspect_open(raw))
        self._parse("top-up", lambda: inspect_top_up(raw, session=originals.session.address))
        if raw == original or not 0 < len(raw) <= MAX_TRANSACTION_BYTES:
            return None
        header = originals.credentials[1 if opens else 2]
        credential = parse_authorization(header)
        if not isinstance(credential.action, OpenAction | TopUpAction):
            raise TypeError("only these two carry transactions")
        return authorization_header(replace(credential, action=replace(credential.action, transaction=raw))).encode()

    def _parse(self, kind: str, parse: Callable[[], object]) -> object:
        try:
            parsed = parse()
        except RetainerError as error:
            self.outcomes[f"{kind}: {type(error).__name__}"] += 1
        except Exception as error:  # noqa: BLE001  what this check looks for
            self.foreign[f"{kind}: {error!r:.200}"] += 1
        else:
            self.outcomes[f"{kind}: still sound"] += 1
            return parsed
        return None


async def run(report: Report) -> None:
    """Damage, parse, show a sample to a running provider, and look at what it served and charged."""
    with tempfile.TemporaryDirectory(prefix="retainer-evidence-") as folder:
        async with (
            running(Upstream()) as upstream,
            stage(Path(folder), upstream=upstream.url, limits=LIMITS) as stood,
            SessionClient(stood.agent, rpc_url=stood.rpc_url, store=(store := create_channel_store())) as client,
            httpx.AsyncClient(timeout=60) as http,
        ):
            session = await client.create_session(stood.url, "1.0")
            first = await client.request("GET", stood.url)
            channel = await store.find(stood.agent.pubkey(), session.session_id)
            if channel is None:
                raise RuntimeError("the store has lost the session")
            originals = await _originals(stood, http, channel, first.headers["Payment-Receipt"])
            held = await stood.balance(stood.agent.pubkey())
            fuzz = Fuzz(random.Random(report.seed), originals)  # noqa: S311  damage, repeatable by seed
            statuses, wordless, shown = Counter[int](), Counter[str](), 0
            total = report.count(MUTATIONS, MUTATIONS_IN_CI)
            for number in range(total):
                credential = fuzz.one()
                if report.sabotage and number == total // 2:
                    report.plant("one of the credentials is not damaged")
                    credential = originals.credentials[0].encode()
                elif number % SHOWN:
                    continue
                if credential is None:
                    continue
                # Blanks around a header's value are no part of it, and this client does not send them.
                answer = await http.get(stood.url, headers={b"Authorization": credential.strip(b" \t")})
                shown += 1
                statuses[answer.status_code] += 1
                if answer.is_success or answer.is_server_error or problem_of(answer) is None:
                    wordless[f"{answer.status_code}: {answer.text[:200]}"] += 1
            report.equal("mutations", total, report.count(MUTATIONS, MUTATIONS_IN_CI))
            report.told("what parsers made of them", dict(sorted(fuzz.outcomes.items())))
            report.equal("errors that are not the project's own", dict(fuzz.foreign), {})
            report.at_least("shown to the provider", shown, total // (4 * SHOWN))
            report.told("its answers, by status", dict(sorted(statuses.items())))
            report.equal("answers that are no refusal in its own words", dict(wordless), {})
            report.equal("executions upstream, besides the first request", sum(upstream.executions.values()) - 1, 0)
            moved = held - await stood.balance(stood.agent.pubkey())
            report.equal("taken from the agent's tokens, in base units", moved, 0)
            try:
                last = (await client.request("GET", stood.url)).extensions["retainer"]
            except ReceiptError as error:
                report.equal("what the client's own books find wrong", str(error), "nothing")
                return
            report.equal("charged besides the first and the last request", last.spent - 2 * PRICE, 0)


async def _originals(stood: Stage, http: httpx.AsyncClient, channel: Channel, receipt: str) -> Originals:
    (offer,) = read_offers(await http.get(stood.url))
    opening = build_opening(
        offer, stood.agent, deposit=DEPOSIT, salt=secrets.randbits(64), token_program=TOKEN_PROGRAM_ID, now=0
    )
    if opening.opening is None:
        raise RuntimeError("the opening was thrown away")
    action = parse_authorization(opening.opening).action
    if not isinstance(action, OpenAction) or action.transaction is None:
        raise TypeError("an opening carries a transaction")
    added = await _topping_up(stood, channel)
    voucher = sign_voucher(Voucher(channel.address, DEPOSIT), stood.agent)
    return Originals(
        session=channel,
        challenge=challenge_header(offer.challenge),
        receipt=receipt,
        credentials=(
            channel.pay_header(),
            opening.opening,
            authorization_header(Credential(offer.challenge, TopUpAction(channel.address, DEPOSIT, added))),
            channel.close_header(),
            authorization_header(Credential(offer.challenge, VoucherAction(channel.address, voucher))),
        ),
        opening=action.transaction,
        topping_up=added,
    )


async def _topping_up(stood: Stage, channel: Channel) -> bytes:
    payer = stood.agent.pubkey()
    instruction = top_up(
        payer=payer,
        session=channel.address,
        payer_token=derive_ata(payer, stood.mint),
        escrow=derive_vault(channel.address)[0],
        mint=stood.mint,
        amount=DEPOSIT,
        token_program=TOKEN_PROGRAM_ID,
    )
    latest = await stood.chain.latest_blockhash()
    transaction, _ = sign_transaction(stood.agent, [instruction], latest.blockhash)
    return transaction
