"""C45: version 0 transactions and lookup tables give the same results; a table lends no rights."""

import struct

from solders.account import Account
from solders.address_lookup_table_account import ID as TABLE_PROGRAM_ID
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.pubkey import Pubkey

from retainer.protocol.constants import MAX_TRANSACTION_BYTES
from tests.program.harness.calls import Call
from tests.program.harness.cast import Run
from tests.program.harness.conservation import changed_accounts
from tests.program.harness.errors import AnchorError, ProgramError, Reason, Refusal, Runtime
from tests.program.harness.judge import accepted
from tests.program.harness.marks import every_kind, row
from tests.program.harness.stage import Stage
from tests.program.harness.world import Outcome, World


def table_of(world: World, addresses: list[Pubkey]) -> AddressLookupTableAccount:
    """A lookup table on the chain that holds these addresses and was last extended long ago."""
    key = world.keypair("lookup table").pubkey()
    head = struct.pack("<IQQBB32s2x", 1, 2**64 - 1, 0, 0, 0, bytes(32))
    data = head + b"".join(bytes(address) for address in addresses)
    world.put(key, Account(10_000_000, data, TABLE_PROGRAM_ID, executable=False, rent_epoch=0))
    return AddressLookupTableAccount(key, addresses)


def send_v0(stage: Stage, call: Call, *, lookup: bool) -> Outcome:
    """The call in a version 0 transaction, every account that does not sign looked up."""
    metas = [meta for one in call.instructions for meta in one.accounts]
    addresses = list(dict.fromkeys(meta.pubkey for meta in metas if not meta.is_signer))
    tables = [table_of(stage.world, addresses)] if lookup and addresses else []
    return stage.world.send(call.instructions, call.signers, tables=tables)


def settle_less(stage: Stage) -> Call:
    """A settlement that must be refused."""
    return stage.settle(80_000)


def live(stage: Stage, *, versioned: bool, lookup: bool) -> list[tuple[bool, int]]:
    """A whole life, with a refusal in it; what landed, and what the payee held after each step."""
    steps: list[tuple[bool, int]] = []
    calls = (Stage.open, Stage.top_up, Stage.settle, settle_less, Stage.request_close, Stage.close)
    for build in calls:
        call = build(stage)
        outcome = (
            send_v0(stage, call, lookup=lookup) if versioned else stage.world.send(call.instructions, call.signers)
        )
        steps.append((outcome.landed, stage.balance(stage.payee_token)))
    return steps


@row(
    "C45",
    "version 0 transactions, with and without lookup tables",
    twin="the legacy transaction, with the same results",
)
@every_kind
def test_a_version_0_life_is_like_a_legacy_one(run: Run) -> None:
    legacy, versioned, looked_up = Stage(run), Stage(run), Stage(run)
    expected = live(legacy, versioned=False, lookup=False)
    assert [landed for landed, _ in expected] == [True, True, True, False, True, True]
    assert live(versioned, versioned=True, lookup=False) == expected
    assert live(looked_up, versioned=True, lookup=True) == expected
    for one in (versioned, looked_up):
        tokens = (one.payer_token, one.payee_token)
        assert [one.balance(token) for token in tokens] == [legacy.balance(token) for token in tokens]


@row(
    "C45",
    "the session looked up without the right to write, or another session in its place",
    twin="looked up writable",
)
@every_kind
def test_a_lookup_table_lends_no_rights(run: Run) -> None:
    stage = Stage(run).opened()
    honest = stage.settle()
    attacks: list[tuple[Call, Reason]] = [
        (honest.readonly("session"), AnchorError.NOT_WRITABLE),
        (honest.with_account("escrow", stage.payer_token), ProgramError.WRONG_ESCROW),
        (honest.unsigned("submitter"), Runtime.MISSING_SIGNATURE),
    ]
    for attack, why in attacks:
        before = stage.world.snapshot()
        outcome = send_v0(stage, attack, lookup=True)
        assert outcome.refusal == Refusal(len(attack.before), why)
        after = stage.world.snapshot(before)
        table = stage.world.keypair("lookup table").pubkey()
        changed = changed_accounts(before, after, fee_payer=stage.world.fees.pubkey(), fee=outcome.fee)
        assert set(changed) <= {table}
    assert send_v0(stage, honest, lookup=True).landed
    assert stage.account.settled == 240_000


@row(
    "C38",
    "a transaction larger than a packet",
    twin="every honest transaction fits with its precompile and compute budget",
)
@every_kind
def test_every_transaction_fits_a_packet(run: Run) -> None:
    stage = Stage(run)
    sizes = [accepted(stage.world, stage.open()).size]
    sizes += [accepted(stage.world, call).size for call in (stage.top_up(), stage.settle(), stage.close())]
    assert max(sizes) < MAX_TRANSACTION_BYTES - 120
