"""The stock client of the standard, which knows nothing of retainer."""

import warnings
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def stock() -> ModuleType:
    """The client half of the kit; its import warns about a demo signer that is not used here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from solana_pay_kit.protocols import mpp
        from solana_pay_kit.protocols.mpp.client import payment_channels, session
        from solana_pay_kit.protocols.mpp.core import headers
        from solana_pay_kit.protocols.mpp.intents import session as intent

    kit = ModuleType("stock")
    for module in (mpp, headers, payment_channels, intent, session):
        kit.__dict__.update({name: value for name, value in vars(module).items() if not name.startswith("_")})
    return kit
