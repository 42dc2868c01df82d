"""What no transaction may break: lamports and tokens are neither made nor lost, and an escrow covers its session."""

from collections import Counter
from collections.abc import Mapping

from solders.account import Account
from solders.pubkey import Pubkey

from retainer.protocol.constants import PROGRAM_ID
from retainer.protocol.layouts import SESSION_LEN, decode_session
from retainer.protocol.session import ChainStatus, SessionAccount
from tests.program.harness.tokens import NATIVE_MINT, read_balance

SYSVAR_OWNER = Pubkey.from_string("Sysvar1111111111111111111111111111111111111")

Accounts = Mapping[Pubkey, Account | None]


def check_conservation(before: Accounts, after: Accounts, *, fee_payer: Pubkey, fee: int, failed: bool) -> None:
    """AssertionError unless one transaction's accounts hold what they held before it, less the fee (in lamports)."""
    if failed:
        changed = changed_accounts(before, after, fee_payer=fee_payer, fee=fee)
        assert not changed, f"a refused transaction changed {changed}"
        return
    assert lamports(before) - fee == lamports(after), "lamports were made or lost"
    assert tokens(before) == tokens(after), "tokens were made or lost"
    for address, account in after.items():
        if account is not None and account.owner == PROGRAM_ID and len(account.data) == SESSION_LEN:
            _check_covered(address, decode_session(account.data), before, after)


def changed_accounts(before: Accounts, after: Accounts, *, fee_payer: Pubkey, fee: int) -> list[Pubkey]:
    """The addresses whose lamports, owner or bytes changed, other than by the fee payer's fee (in lamports)."""
    return [
        address for address, old in before.items() if not _same(old, after[address], fee if address == fee_payer else 0)
    ]


def lamports(accounts: Accounts) -> int:
    """The sum of lamports."""
    return sum(account.lamports for account in accounts.values() if account is not None)


def tokens(accounts: Accounts) -> Counter[Pubkey]:
    """Base units per mint. Wrapped SOL is left out: its amounts follow lamports, which are counted."""
    total: Counter[Pubkey] = Counter()
    for account in accounts.values():
        balance = read_balance(account) if account is not None else None
        if balance is not None and balance.mint != NATIVE_MINT:
            total[balance.mint] += balance.amount
    return +total


def _same(old: Account | None, new: Account | None, fee: int) -> bool:
    if old is not None and old.owner == SYSVAR_OWNER:
        return True  # the cluster's own, and no transaction's doing
    if old is None or new is None:
        return old is new or (old is not None and new is None and old.lamports == fee)
    return (old.lamports - fee, old.owner, old.data) == (new.lamports, new.owner, new.data)


def _check_covered(address: Pubkey, session: SessionAccount, before: Accounts, after: Accounts) -> None:
    assert session.settled <= session.deposit, f"{address} settled more than its deposit"
    escrow = after.get(session.escrow)
    balance = read_balance(escrow) if escrow is not None else None
    if session.status is ChainStatus.CLOSED:
        # Strangers may make a token account at a closed session's escrow address again; the session never does.
        assert balance is None or before[session.escrow] == escrow, f"{address} is closed and still has an escrow"
    elif session.escrow in after:
        assert balance is not None, f"{address} has no escrow"
        assert balance.amount >= session.deposit - session.settled, f"{address} is not covered by its escrow"
