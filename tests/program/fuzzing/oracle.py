"""What every instruction must do, said a second time: rules as sets of reasons to refuse, effects as new values.

The oracle reads nothing of the program. It is given what is asked (accounts, flags, arguments, the voucher before it)
and the state so far, and says which rules the request breaks; none means that it must land. When several are broken,
the program may name any of them.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from retainer.protocol.instructions import ACCOUNT_SLOTS
from tests.program.fuzzing import living
from tests.program.fuzzing.accounts import Reasons
from tests.program.fuzzing.model import Asked, State
from tests.program.fuzzing.opening import open_session, opening_rules
from tests.program.harness.errors import AnchorError, Reason, Runtime

ANYTHING: Final = frozenset[Reason]([Runtime.INVALID_INSTRUCTION_DATA])
"""What refuses data that is no instruction: what is seen first may be an account that some other instruction lacks."""


def ask(asked: Asked, state: State) -> frozenset[Reason]:
    """The rules that this request breaks; when there are none, `state` is changed as the request asks."""
    if asked.args is None:
        return ANYTHING
    rules, effect = INSTRUCTIONS[asked.name]
    broken = frozenset([*_frame(asked), *rules(asked, state)])
    if not broken:
        effect(asked, state)
    return broken


def _frame(asked: Asked) -> Reasons:
    """What Anchor looks at for every instruction: signatures, rights to write, and accounts that stand in two slots."""
    opening = asked.name.startswith("open")
    for spec in ACCOUNT_SLOTS[asked.name]:
        slot, _, flags = spec.partition("[")
        key = asked.accounts[slot]
        if "s" in flags and key not in asked.signed:
            yield Runtime.MISSING_SIGNATURE
        if "w" in flags and key not in asked.writable:
            yield AnchorError.NOT_WRITABLE
            yield Runtime.MISSING_SIGNATURE
            yield Runtime.PRIVILEGE_ESCALATION  # what the system program's call meets first at an opening
        # Who pays for an opening signs for it, and may stand in other slots too; the roles have rules of their own.
        if "w" in flags and not (opening and slot in ("payer", "rent_payer")):
            others = (address for other, address in asked.accounts.items() if other != slot)
            if key in others:
                yield AnchorError.DUPLICATE_WRITABLE


Rules = Callable[[Asked, State], Reasons]
Effect = Callable[[Asked, State], None]
INSTRUCTIONS: Final[Mapping[str, tuple[Rules, Effect]]] = MappingProxyType(
    {
        "open": (opening_rules, open_session),
        "open_with_terms": (opening_rules, open_session),
        "top_up": (living.top_up_rules, living.top_up),
        "settle": (living.claim_rules, living.settle),
        "close": (living.claim_rules, living.close),
        "request_close": (living.request_rules, living.request_close),
        "withdraw": (living.withdraw_rules, living.withdraw),
    }
)
