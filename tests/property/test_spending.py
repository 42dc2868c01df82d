"""Whatever an agent does for days: within any 24 hours it is never charged more than its cap."""

import asyncio
import random

from hypothesis import given
from hypothesis import strategies as st
from solders.keypair import Keypair

from retainer.channels.spending import DAY
from retainer.stores import create_channel_store
from tests.contract.channels import NOW
from tests.contract.spending import CAP, Spender, most_within_a_day

AGENT = Keypair.from_seed(b"a" * 32)


@given(
    seed=st.integers(0, 2**32),
    pauses=st.lists(st.sampled_from([0, 1, 3_599, 3_600, DAY // 3, DAY - 1, DAY, DAY + 1]), min_size=5, max_size=20),
)
def test_no_day_costs_more_than_the_cap(seed: int, pauses: list[int]) -> None:
    spender, pick = Spender(create_channel_store(), AGENT, 1), random.Random(seed)

    async def live() -> None:
        now = NOW
        for pause in pauses:
            now += pause
            for _ in range(5):
                await spender.act(pick, now)

    asyncio.run(live())
    assert most_within_a_day(spender.charges) <= CAP
