"""The one pass rule for every attack: refused by name, nothing changed, and the honest twin lands."""

from collections.abc import Callable, Iterable
from contextvars import ContextVar

from tests.program.harness.calls import Call
from tests.program.harness.conservation import changed_accounts
from tests.program.harness.errors import Reason
from tests.program.harness.world import Outcome, World

Twin = Call | Callable[[], Call]
"""An honest transaction, or what prepares its moment (moves the clock, thaws) and then gives it."""

let_through: ContextVar[bool] = ContextVar("let_through", default=False)
"""The fault that the attack table's sabotage plants: attacks are replaced by their honest twins, as if let through."""


def refused(world: World, attack: Call, reason: Reason, *, twin: Twin) -> Outcome:
    """Holds that the attack fails for this reason, changes nothing but the fee, and that its honest twin lands.

    Returns the twin's outcome.
    """
    return each_refused(world, [(attack, reason)], twin=twin)


def each_refused(world: World, attacks: Iterable[tuple[Call, Reason]], *, twin: Twin) -> Outcome:
    """`refused` for several attacks on the same state that share one honest twin."""
    listed = list(attacks)
    assert listed, "no attack to refuse"
    for attack, reason in listed:
        _blocked(world, _honest(twin) if let_through.get() else attack, reason)
    return accepted(world, _honest(twin))


def accepted(world: World, honest: Call) -> Outcome:
    """Holds that an honest transaction lands."""
    return _send(world, honest).require()


def _honest(twin: Twin) -> Call:
    return twin() if callable(twin) else twin


def _send(world: World, call: Call) -> Outcome:
    return world.send(call.instructions, call.signers, durable=call.durable)


def _blocked(world: World, attack: Call, reason: Reason) -> None:
    before = dict(world.snapshot(meta.pubkey for one in attack.instructions for meta in one.accounts))
    if attack.durable:
        del before[attack.durable.account]
    outcome = _send(world, attack)
    assert outcome.refusal is not None, f"{attack.name} was let through where {reason!r} was due"
    logs = "\n".join(outcome.logs)
    assert outcome.refusal.reason == reason, f"refused with {outcome.refusal}, not {reason!r}:\n{logs}"
    changed = changed_accounts(before, world.snapshot(before), fee_payer=world.fees.pubkey(), fee=outcome.fee)
    assert not changed, f"the refused {attack.name} changed {changed}"
