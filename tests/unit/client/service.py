"""A provider in one class, over the real program on the fake chain. Tests make it dishonest by changing one step."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import httpx
from msgspec import structs
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer.chain.errors import TransactionRefusedError
from retainer.chain.fake import FakeChain
from retainer.chain.sessions import session_account
from retainer.chain.submit import submit
from retainer.chain.testing import create_ata
from retainer.protocol.actions import CloseAction, OpenAction, TopUpAction, UseAction
from retainer.protocol.amounts import BaseUnits, base_units
from retainer.protocol.authentication import verify_proof
from retainer.protocol.challenges import challenge_header, issue_challenge, verify_challenge_id
from retainer.protocol.constants import PROGRAM_ID, TOKEN_PROGRAM_ID, Network
from retainer.protocol.credentials import parse_authorization
from retainer.protocol.digests import body_digest, request_digest
from retainer.protocol.encoding import canonical_json
from retainer.protocol.instructions import close
from retainer.protocol.offers import RetainerTerms, SessionRequest
from retainer.protocol.pda import derive_ata
from retainer.protocol.problems import MEDIA_TYPE, Problem, ProblemType
from retainer.protocol.receipts import MeteredDetails, Receipt, ReceiptExtension, receipt_header, sign_receipt
from retainer.protocol.session import SessionState, VoucherSigner
from retainer.protocol.sla import SlaTerms

SECRET = b"s" * 32
NOW = 1_800_000_000
PRICE = 8_000
URL = "http://localhost:8402/ask"


@dataclass(slots=True)
class Books:
    """What the service knows of one session."""

    challenge_id: str
    deposit: BaseUnits
    spent: int = 0
    sequence: int = 0
    answers: dict[str, httpx.Response] = field(default_factory=dict)
    state: SessionState = SessionState.ACTIVE


@dataclass(slots=True)
class Service:
    """Honest unless told otherwise: `offer`, `receipt`, `settle` alter what it says; `before` answers instead of it."""

    chain: FakeChain
    operator: Keypair
    mint: Pubkey
    terms: bool = True
    offer: Callable[[SessionRequest], SessionRequest] = lambda request: request
    receipt: Callable[[Receipt], Receipt] = lambda receipt: receipt
    settle: Callable[[int], int] = lambda spent: spent
    before: Callable[[httpx.Request], Awaitable[httpx.Response | None]] | None = None
    sessions: dict[str, Books] = field(default_factory=dict)
    seen: list[httpx.Request] = field(default_factory=list)
    opened: int = 0
    topped_up: int = 0

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request, as an httpx.MockTransport asks it to."""
        # A copy: httpx sends the same object again with other headers.
        self.seen.append(httpx.Request(request.method, request.url, headers=request.headers))
        if self.before is not None and (instead := await self.before(request)):
            return instead
        if not request.headers.get("Authorization", "").startswith("Payment "):
            return await self.refuse(ProblemType.PAYMENT_REQUIRED)
        credential = parse_authorization(request.headers["Authorization"])
        assert verify_challenge_id(credential.challenge, [SECRET])
        match credential.action:
            case OpenAction() as action:
                return await self.open(action, credential.challenge.id)
            case UseAction() as action:
                return await self.use(action, request)
            case TopUpAction() as action:
                return await self.top_up(action)
            case CloseAction() as action:
                return await self.close(action)
        raise AssertionError(credential.action)

    async def challenge(self) -> str:
        """A fresh `WWW-Authenticate` value."""
        latest = await self.chain.latest_blockhash()
        request = SessionRequest(
            amount=base_units(PRICE),
            currency=self.mint,
            recipient=self.operator.pubkey(),
            network=Network.LOCALNET,
            channel_program=PROGRAM_ID,
            decimals=6,
            suggested_deposit=base_units(1_000_000),
            recent_blockhash=latest.blockhash,
            recent_slot=latest.slot,
            token_program=TOKEN_PROGRAM_ID,
            voucher_signer=VoucherSigner.OPERATOR,
            operator=self.operator.pubkey(),
            grace_period_seconds=900,
            retainer=self.retainer_terms() if self.terms else None,
        )
        return challenge_header(issue_challenge(SECRET, "test", self.offer(request)))

    def retainer_terms(self) -> RetainerTerms:
        """The terms of the honest offer."""
        return RetainerTerms(
            offer_id="standard",
            operator=self.operator.pubkey(),
            price=base_units(PRICE),
            expires_at=NOW + 3600,
            sla=SlaTerms(max_latency_ms=1000),
        )

    async def refuse(
        self, problem: ProblemType, status: int = 402, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """A problem with a fresh challenge."""
        body = canonical_json(Problem(problem, problem.name, "do something about it", status).to_json())
        found = {"WWW-Authenticate": await self.challenge(), "Content-Type": MEDIA_TYPE, **(headers or {})}
        return httpx.Response(status, headers=found, content=body)

    async def open(self, action: OpenAction, challenge_id: str) -> httpx.Response:
        """Send the deposit, once."""
        session_id = str(action.channel_id)
        if session_id not in self.sessions:
            if action.transaction is not None:
                await self.chain.send(action.transaction)
            account = await session_account(self.chain, action.channel_id)
            if account is None:
                return await self.refuse(ProblemType.DEPOSIT_UNCONFIRMED, headers={"Retry-After": "1"})
            self.opened += 1
            self.sessions[session_id] = Books(challenge_id, account.deposit)
        return self.answer(action.channel_id, {"session": session_id})

    async def top_up(self, action: TopUpAction) -> httpx.Response:
        """Send what the agent signed, and count what the account says."""
        with suppress(TransactionRefusedError):
            await self.chain.send(action.transaction)
        account = await session_account(self.chain, action.channel_id)
        books = self.sessions.get(str(action.channel_id))
        if account is None or books is None or account.deposit == books.deposit:
            return await self.refuse(ProblemType.DEPOSIT_FAILED)
        self.topped_up += 1
        books.deposit = account.deposit
        return self.answer(action.channel_id, {"session": str(action.channel_id)})

    async def use(self, action: UseAction, request: httpx.Request) -> httpx.Response:
        """Serve and charge, once per key."""
        books = self.sessions.get(str(action.channel_id))
        if books is None:
            return await self.refuse(ProblemType.SESSION_UNKNOWN)
        assert verify_proof(action.authentication, action.channel_id)
        if books.state is SessionState.EXPIRED:
            return await self.refuse(ProblemType.SESSION_EXPIRED)
        if books.state is not SessionState.ACTIVE:
            return await self.refuse(ProblemType.SESSION_CLOSED)
        key = request.headers["Idempotency-Key"]
        if key in books.answers:
            return books.answers[key]
        if books.deposit - books.spent < PRICE:
            return await self.refuse(ProblemType.SESSION_DEPLETED)
        books.sequence += 1
        books.spent += PRICE
        body = b'{"answer": 42}'
        metered = MeteredDetails(
            sequence=books.sequence,
            amount=base_units(PRICE),
            units=1,
            charged=True,
            status=200,
            latency_ms=3,
            request_digest=request_digest(request.method, request.url.raw_path.decode(), request.content).hex(),
            response_digest=body_digest(body).hex(),
            usage_hash="00" * 32,
        )
        answer = self.answer(action.channel_id, body, metered)
        books.answers[key] = answer
        return answer

    async def close(self, action: CloseAction) -> httpx.Response:
        """Settle and refund in one transaction."""
        session, books = action.channel_id, self.sessions.get(str(action.channel_id))
        if books is None:
            return await self.refuse(ProblemType.SESSION_UNKNOWN)
        account = await session_account(self.chain, session)
        if account is None:
            return await self.refuse(ProblemType.SESSION_CLOSED)
        books.state = SessionState.REFUNDED
        await create_ata(self.chain, self.operator, owner=account.payee, mint=self.mint, clock=self.chain)
        amount = self.settle(books.spent)
        instruction = close(
            submitter=account.operator,
            session=session,
            account=account,
            payee_token=derive_ata(account.payee, self.mint),
            payer_token=derive_ata(account.payer, self.mint),
            amount=amount,
            charged_units=amount // PRICE,
            usage_root=bytes(32),
        )
        signature = await submit(self.chain, [instruction], [self.operator], clock=self.chain)
        refunded = base_units(books.deposit - amount)
        return self.answer(session, {"state": "refunded"}, tx_hash=signature, refunded=refunded)

    def answer(
        self,
        session: Pubkey,
        body: object,
        metered: MeteredDetails | None = None,
        tx_hash: str | None = None,
        refunded: BaseUnits | None = None,
    ) -> httpx.Response:
        """A 200 with a receipt."""
        books = self.sessions[str(session)]
        extension = ReceiptExtension(
            state=books.state,
            remaining=base_units(books.deposit - books.spent),
            operator=self.operator.pubkey(),
            metered=metered,
        )
        receipt = Receipt(
            reference=session,
            timestamp="2027-01-15T08:00:00Z",
            accepted_cumulative=base_units(books.spent),
            spent=base_units(books.spent),
            idle_timeout_seconds=600,
            challenge_id=books.challenge_id,
            tx_hash=tx_hash,
            refunded=refunded,
            retainer=extension if self.terms else None,
        )
        signed = sign_receipt(receipt, self.operator) if self.terms else receipt
        headers = {"Payment-Receipt": receipt_header(self.receipt(signed))}
        if isinstance(body, bytes):
            return httpx.Response(200, headers=headers, content=body)
        return httpx.Response(200, headers=headers, json=body)


def resigned(change: Callable[[Receipt], Receipt], operator: Keypair) -> Callable[[Receipt], Receipt]:
    """A lie that the operator signs."""
    return lambda receipt: sign_receipt(change(receipt), operator)


def metered(receipt: Receipt, **changes: object) -> Receipt:
    """The receipt with other details, when it is one of a metered request."""
    extension = receipt.retainer
    if extension is None or extension.metered is None:
        return receipt
    changed = structs.replace(extension.metered, **changes)
    return structs.replace(receipt, retainer=structs.replace(extension, metered=changed))
