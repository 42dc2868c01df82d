"""A node may answer anything at all; what leaves the seam is a value or an error of ours (F08)."""

import asyncio
import json
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import pytest
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import Message
from solders.system_program import TransferParams, transfer
from solders.transaction import Transaction

from retainer.chain.base import Commitment
from retainer.chain.errors import ChainError, ChainUnavailableError, SendOutcomeUnknownError, TransactionRefusedError
from retainer.chain.rpc import RpcChain
from tests.times import PATIENCE_SECONDS

SENDER = Keypair.from_seed(bytes([1] * 32))
RAW = bytes(
    Transaction(
        [SENDER],
        Message.new_with_blockhash(
            [transfer(TransferParams(from_pubkey=SENDER.pubkey(), to_pubkey=SENDER.pubkey(), lamports=1))],
            SENDER.pubkey(),
            Hash.default(),
        ),
        Hash.default(),
    )
)
SIGNATURE = str(Transaction.from_bytes(RAW).signatures[0])
OTHER_SIGNATURE = "1" * 64


class Node:
    """A server that answers with what it is told, in turn, the last for ever."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.requests = 0
        self.connections: set[asyncio.Task[None] | None] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.add(asyncio.current_task())
        # The caller may hang up at any moment.
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
            self.requests += 1
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            writer.write(answer)
            if answer.startswith(DRIPPING):
                await reader.read()  # until the caller hangs up
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def http(body: str, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n{body}".encode()


def result(value: object) -> bytes:
    return http(json.dumps({"jsonrpc": "2.0", "id": 1, "result": value}))


def error(code: int, message: str = "no", **data: object) -> bytes:
    found = {"code": code, "message": message} | ({"data": data} if data else {})
    return http(json.dumps({"jsonrpc": "2.0", "id": 1, "error": found}))


DRIPPING = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{"
NONSENSE = {
    "a web page": http("<html>"),
    "cut off": http('{"jsonrpc":"2.0","id":1,"resu'),
    "nothing": http(""),
    "a list": http("[]"),
    "neither result nor error": http("{}"),
    "another type": result({"value": "x"}),
    "null": result(None),
    "too many requests": http("slow down", "429 Too Many Requests"),
    "a server error": http("oops", "502 Bad Gateway"),
    "an error without data": error(-32005, "Node is behind"),
    "an error with strange data": error(-32016, contextSlot="far"),
    "an unknown error": error(-1),
    "an internal error": error(-32603),
    "no http": b"SSH-2.0-OpenSSH\r\n",
    "hung up": b"",
    "dripping": DRIPPING,
}


def patience(answers: Sequence[bytes]) -> float:
    """Seconds until a node is given up: few where it never ends its answer, else more than a busy machine takes."""
    return 0.2 if any(answer.startswith(DRIPPING) for answer in answers) else PATIENCE_SECONDS


@asynccontextmanager
async def asking(*answers: bytes) -> AsyncIterator[tuple[RpcChain, Node]]:
    node = Node(*answers)
    server = await asyncio.start_server(node.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, RpcChain(f"http://127.0.0.1:{port}", timeout=patience(answers), pauses=(0, 0)) as chain:
        yield chain, node
    await asyncio.gather(*filter(None, node.connections))


CALLS: dict[str, Callable[[RpcChain], Awaitable[object]]] = {
    "account": lambda chain: chain.account(SENDER.pubkey()),
    "accounts": lambda chain: chain.accounts([SENDER.pubkey()]),
    "latest_blockhash": lambda chain: chain.latest_blockhash(),
    "slot": lambda chain: chain.slot(),
    "block_time": lambda chain: chain.block_time(),
    "signature_status": lambda chain: chain.signature_status(SIGNATURE),
    "signatures_for": lambda chain: chain.signatures_for(SENDER.pubkey()),
    "program_accounts": lambda chain: chain.program_accounts(SENDER.pubkey(), offset=0, key=SENDER.pubkey()),
    "simulate": lambda chain: chain.simulate(RAW),
}


@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE.keys())
@pytest.mark.row("F08", attack="truncated JSON, other types, wrong members", twin="a proper answer is read")
async def test_nonsense_is_no_answer(answer: bytes) -> None:
    async with asking(answer) as (chain, _):
        outcomes = await asyncio.gather(*[call(chain) for call in CALLS.values()], return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [ChainUnavailableError] * len(CALLS)
    assert all("http://127.0.0.1" in str(outcome) for outcome in outcomes)


@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE.keys())
async def test_nonsense_leaves_it_unknown_whether_a_transaction_was_sent(answer: bytes) -> None:
    async with asking(answer) as (chain, _):
        with pytest.raises(SendOutcomeUnknownError) as unknown:
            await chain.send(RAW)

    assert unknown.value.signature == SIGNATURE


async def test_a_node_may_fail_twice() -> None:
    async with asking(http("", "503 Unavailable"), http("<html>"), result(42)) as (chain, node):
        assert await chain.slot() == 42

    assert node.requests == 3


@pytest.mark.row("F08", attack="a node that answers errors without end", twin="two failures are retried")
async def test_a_node_that_keeps_failing_is_asked_three_times() -> None:
    async with asking(http("", "503 Unavailable")) as (chain, node):
        with pytest.raises(ChainUnavailableError, match="503"):
            await chain.slot()

    assert node.requests == 3


async def test_a_refusal_is_not_asked_for_again() -> None:
    simulated = {"err": {"InstructionError": [1, {"Custom": 6101}]}, "logs": ["Program log: no"], "unitsConsumed": 7}
    async with asking(error(-32002, "simulation failed", **simulated)) as (chain, node):
        with pytest.raises(TransactionRefusedError) as refused:
            await chain.send(RAW)

    assert refused.value.program_error == 6101
    assert refused.value.logs == ("Program log: no",)
    assert node.requests == 1


@pytest.mark.parametrize("code", [-32002, -32003, -32006, -32013, -32015, -32602])
async def test_errors_from_before_the_sending_are_refusals(code: int) -> None:
    async with asking(error(code, "bad transaction")) as (chain, _):
        with pytest.raises(TransactionRefusedError, match="bad transaction"):
            await chain.send(RAW)


@pytest.mark.parametrize(
    "answer",
    [
        error(-32002, "simulation failed", err="AlreadyProcessed", logs=[]),
        error(-32002, "Transaction error: This transaction has already been processed"),
    ],
)
async def test_what_has_landed_already_is_sent(answer: bytes) -> None:
    async with asking(answer) as (chain, _):
        assert await chain.send(RAW) == SIGNATURE


async def test_another_signature_than_the_transactions_is_not_believed() -> None:
    async with asking(result(OTHER_SIGNATURE)) as (chain, _):
        with pytest.raises(SendOutcomeUnknownError, match="another signature"):
            await chain.send(RAW)


async def test_an_account_that_cannot_be_read_is_no_answer() -> None:
    account = {"lamports": 1, "owner": str(SENDER.pubkey()), "data": ["AA==", "base64"]}
    for change in ({"owner": "nobody"}, {"data": ["!", "base64"]}, {"lamports": -1.5}, {"data": "AA=="}):
        async with asking(result({"context": {"slot": 5}, "value": account | change})) as (chain, _):
            with pytest.raises(ChainUnavailableError):
                await chain.account(SENDER.pubkey())
    async with asking(result({"context": {"slot": 5}, "value": account})) as (chain, _):
        found = await chain.account(SENDER.pubkey())
        assert found is not None
        assert (found.lamports, found.owner, found.data, found.slot) == (1, SENDER.pubkey(), b"\0", 5)


async def test_another_number_of_accounts_than_asked_for_is_no_answer() -> None:
    async with asking(result({"context": {"slot": 5}, "value": [None, None]})) as (chain, _):
        with pytest.raises(ChainUnavailableError, match="2 of 1"):
            await chain.accounts([SENDER.pubkey()])


@pytest.mark.parametrize(
    ("status", "commitment"),
    [
        ({"confirmationStatus": "finalized", "confirmations": None}, Commitment.FINALIZED),
        ({"confirmationStatus": "confirmed", "confirmations": 3}, Commitment.CONFIRMED),
        ({"confirmationStatus": "processed", "confirmations": 0}, Commitment.PROCESSED),
        ({"confirmationStatus": None, "confirmations": None}, Commitment.FINALIZED),
        ({"confirmationStatus": None, "confirmations": 31}, Commitment.PROCESSED),
        ({"confirmationStatus": "sure", "confirmations": 2}, Commitment.PROCESSED),
    ],
)
async def test_a_status_is_read_as_the_least_it_says(status: dict[str, object], commitment: Commitment) -> None:
    answer = result({"context": {"slot": 9}, "value": [{"slot": 8, "err": None, "status": {"Ok": None}} | status]})
    async with asking(answer) as (chain, _):
        found = await chain.signature_status(SIGNATURE)

    assert found is not None
    assert (found.slot, found.commitment, found.error) == (8, commitment, None)


async def test_nobody_listening_is_told_with_the_address() -> None:
    async with RpcChain("http://127.0.0.1:9", timeout=PATIENCE_SECONDS, pauses=()) as chain:
        with pytest.raises(ChainError, match=r"http://127\.0\.0\.1:9 did not answer GetSlot"):
            await chain.slot()


@pytest.mark.parametrize("answer", [http("", "403 Forbidden"), http("<html>"), error(-32603, "no"), DRIPPING, b""])
async def test_a_key_in_the_url_is_in_no_error(answer: bytes) -> None:
    """F27."""
    node = Node(answer)
    server = await asyncio.start_server(node.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = f"http://user:hush@127.0.0.1:{port}/v1/hush?api-key=hush"
    async with server, RpcChain(url, timeout=patience([answer]), pauses=()) as chain:
        with pytest.raises(ChainUnavailableError) as asked:
            await chain.slot()
        with pytest.raises(SendOutcomeUnknownError) as sent:
            await chain.send(RAW)
    await asyncio.gather(*filter(None, node.connections))

    for raised in (asked, sent):
        assert "hush" not in "".join(traceback.format_exception(raised.value))
        assert f"http://127.0.0.1:{port} " in str(raised.value)


@pytest.mark.parametrize(
    "url", ["", "localhost", "ftp://node", "http://", "http://node:many", "https:///path", "ws://node"]
)
def test_what_is_no_url_is_said_at_once(url: str) -> None:
    with pytest.raises(ChainError, match="must look like"):
        RpcChain(url)
