"""A service whose operator key it never holds: receipts and settlements are signed by a command."""

import sys
from pathlib import Path
from typing import Any

import pytest
from solders.pubkey import Pubkey

from retainer.chain.fake import FakeChain
from retainer.protocol.problems import ProblemType
from tests.integration.conftest import OPERATOR, opened_shop, problem, receipt
from tests.shop import DEPOSIT, PRICE

SIGN = """
import base64, pathlib, sys
from solders.keypair import Keypair
if pathlib.Path(sys.argv[1]).exists():
    raise SystemExit("the vault is sealed")
print(Keypair.from_seed(b"o" * 32).sign_message(base64.b64decode(sys.stdin.readline())))
"""


class Seal:
    """While its file exists, the signer signs nothing."""

    def __init__(self, flag: Path) -> None:
        self.close, self.open = flag.touch, flag.unlink


@pytest.fixture
def sealed(raw_settings: dict[str, Any], tmp_path: Path) -> Seal:
    flag = tmp_path / "sealed"
    del raw_settings["service"]["operator_keypair"]
    raw_settings["service"]["operator"] = {
        "command": [sys.executable, "-c", SIGN, str(flag)],
        "public_key": str(OPERATOR.pubkey()),
    }
    return Seal(flag)


async def test_a_command_signs_receipts_and_settlements(
    mint: Pubkey, chain: FakeChain, raw_settings: dict[str, Any], tmp_path: Path, sealed: Seal
) -> None:
    async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
        opening = await shop.opened()
        assert receipt(await shop.use(opening)).spent == PRICE
        sealed.close()
        answer = await shop.use(opening, key="again")
        assert problem(answer).type == ProblemType.SERVICE_UNAVAILABLE
        assert (await shop.view(opening)).spent == PRICE, "no receipt, no charge, no answer"
        sealed.open()
        assert receipt(await shop.use(opening, key="again")).spent == 2 * PRICE
        ended = receipt(await shop.send(opening.close()))
        assert (ended.spent, ended.refunded) == (2 * PRICE, DEPOSIT - 2 * PRICE)


async def test_a_settlement_waits_for_its_signer(
    mint: Pubkey, chain: FakeChain, raw_settings: dict[str, Any], tmp_path: Path, sealed: Seal
) -> None:
    async with opened_shop(chain, mint, raw_settings, tmp_path) as shop:
        opening = await shop.opened()
        await shop.use(opening)
        sealed.close()
        assert (await shop.send(opening.close())).status_code == 202
        sealed.open()
        ended = receipt(await shop.send(opening.close()))
        assert (ended.spent, ended.refunded) == (PRICE, DEPOSIT - PRICE)
