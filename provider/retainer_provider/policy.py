"""What the settings say about settling, as the settler takes it."""

from retainer_provider.identity import Identity
from retainer_provider.settings import Settings
from retainer_provider.settling.closing_transaction import CostPolicy
from retainer_provider.settling.fees import FeePolicy
from retainer_provider.settling.settler import SettlerOptions


def settler_options(settings: Settings, identity: Identity) -> SettlerOptions:
    """What settling may cost, and when a deadline is an alarm."""
    chosen = settings.settlement
    fee = chosen.priority_fee
    costs = CostPolicy(
        fees=FeePolicy(fee if isinstance(fee, int) else {"none": 0, "auto": None}[fee], chosen.priority_fee_cap),
        sponsor=identity.sponsor,
        pay_for_accounts=chosen.pay_for_accounts,
    )
    return SettlerOptions(program_id=identity.program_id, costs=costs, alarm_before=chosen.alarm_before_seconds)
