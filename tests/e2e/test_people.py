"""A person's session on a real validator: the tab closes and the provider dies between signing and confirmation.

The deposit is found all the same, the questions are charged, and the wallet gets the rest back to the base unit.
"""

import asyncio
from pathlib import Path

import httpx

from tests.people import Page
from tools.evidence.upstream import Upstream, running
from tools.stage import stage

DEPOSIT, PRICE, ASKS = 1_000_000, 8_000, 5
_LOOKS = 300


async def test_fund_ask_top_up_close(tmp_path: Path) -> None:
    async with (
        running(Upstream()) as upstream,
        stage(tmp_path, upstream=upstream.url, slot_ms=50) as stood,
        httpx.AsyncClient(base_url=stood.service.url, timeout=60) as http,
    ):
        page = Page(http, stood.agent)
        before = await stood.balance(stood.agent.pubkey())
        invoice = await page.fund(DEPOSIT, "demo")
        await stood.service.kill()
        await stood.chain.send(page.sign(invoice["transaction"]))
        await stood.service.start()
        for _ in range(_LOOKS):
            found = await page.ok("GET", f"/invoices/{invoice['invoiceId']}")
            if found["state"] == "active":
                break
            await asyncio.sleep(0.2)
        assert found["state"] == "active"
        session = str(invoice["sessionId"])
        assert (await page.session(session))["creationSignature"]
        for number in range(ASKS):
            answer = await page.ask(session, f"question {number}", "/v1/report", idempotency_key=f"key-{number}")
            assert answer.status_code == 200, answer.text
        topup = await page.ok("POST", f"/sessions/{session}/topup", {"amount": str(DEPOSIT)})
        assert (await page.post(topup))["state"] == "active"
        page.token = topup["token"]
        assert (await page.session(session))["deposit"] == str(2 * DEPOSIT)
        assert (await page.ask(session, path="/v1/report")).status_code == 200
        closed = await page.call("POST", f"/sessions/{session}/close")
        while closed.status_code == 202:
            closed = await page.call("POST", f"/sessions/{session}/close")
        spent = (ASKS + 1) * PRICE
        assert (closed.json()["settled"], closed.json()["refund"]) == (str(spent), str(2 * DEPOSIT - spent))
        assert await stood.balance(stood.agent.pubkey()) == before - spent
        assert await stood.balance(stood.payee.pubkey()) == spent
