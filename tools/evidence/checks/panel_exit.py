"""panel-exit: with the provider dead, a page from a file takes the payer's money back, in a real browser."""

import json
import re
import tempfile
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from playwright.async_api import Browser, Page, expect
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from retainer import SessionClient
from retainer.chain.sessions import session_account
from retainer.chain.testing import create_mint, mint_to, token_balance
from retainer.localnet import time_travel
from retainer.protocol.constants import MIN_GRACE_PERIOD, TOKEN_2022_PROGRAM_ID
from retainer.protocol.instructions import OpenParams, open_session
from retainer.protocol.pda import derive_ata, derive_session
from retainer.protocol.session import ChainStatus
from retainer.wallet import sign_transaction
from tools.browser import Watched, chromium
from tools.evidence.report import Report
from tools.evidence.upstream import Upstream, running
from tools.stage import OFFER, Stage, stage

PANEL: Final = '\n[panel]\npath = "/"\n'
REQUESTS, DEPOSIT = 5, 1_000_000
SLOT_MS = 50
CLOSE_ACCOUNT_DATA: Final = b"\x09"
# The page asks the chain every five seconds; finality takes two more.
PATIENCE_MS: Final = 20_000
_SCRIPT: Final = re.compile(r'<script type="module">.*?</script>', re.DOTALL)
_POLICY: Final = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')


async def run(report: Report) -> None:
    """Use a session, kill its provider, and leave by a page that was saved before."""
    with tempfile.TemporaryDirectory(prefix="retainer-evidence-") as folder:
        async with (
            running(Upstream()) as upstream,
            stage(Path(folder), upstream=upstream.url, offers=OFFER + PANEL, slot_ms=SLOT_MS) as stood,
            chromium() as browser,
        ):
            before = await stood.balance(stood.agent.pubkey())
            async with SessionClient(stood.agent, rpc_url=stood.rpc_url) as client:
                session = await client.create_session(stood.url, "1.0")
                for _ in range(REQUESTS):
                    (await client.request("GET", stood.url)).raise_for_status()
            elsewhere, mint = await _open_elsewhere(stood)
            saved = await _save(browser, Path(folder), report, stood.service.url)
            await stood.service.kill()
            report.step(f"{REQUESTS} requests were answered and the page was saved, then the provider was killed")
            page, watched = await browser.new_page(), Watched()
            watched.on(page)
            page.set_default_timeout(PATIENCE_MS)
            expect.set_options(timeout=PATIENCE_MS)
            await page.goto(saved.as_uri())
            shown = await page.get_by_role("heading", name="The way out").count()
            report.equal("the page shows itself from its file", shown, 1)
            if not shown:
                return
            await _connect(page, stood)
            found = page.get_by_role("article")
            await expect(found).to_have_count(2)
            report.step("it found both sessions: one of another provider, of Token-2022, with no token account left")
            await _leave(page, report, stood, [session.pda, elsewhere])
            report.equal("hosts that the page asked", sorted(watched.hosts), [urlsplit(stood.rpc_url).netloc])
            report.equal("errors in the page", watched.errors, [])
            paid = before - await stood.balance(stood.agent.pubkey())
            report.equal("what the payer paid in the end, on chain, in base units", paid, 0)
            report.equal("what the payee got, on chain, in base units", await stood.balance(stood.payee.pubkey()), 0)
            left = [await stood.chain.account(one) for one in (session.pda, elsewhere)]
            report.equal("session accounts that are left", left, [None, None])
            held = await token_balance(stood.chain, stood.agent.pubkey(), mint, token_program=TOKEN_2022_PROGRAM_ID)
            report.equal("what the payer holds of the other token, on chain, in base units", held, DEPOSIT)


async def _save(browser: Browser, folder: Path, report: Report, provider: str) -> Path:
    """What "Save this page" saves, with nothing beside it."""
    page = await browser.new_page()
    await page.goto(f"{provider}/exit.html")
    async with page.expect_download() as downloading:
        await page.get_by_role("link", name="Save this page").click()
    saved = folder / "saved" / "exit.html"
    await (await downloading.value).save_as(saved)
    await page.close()
    text = saved.read_text(encoding="utf-8")
    if report.sabotage:
        report.plant("the saved page loads its script from the provider, as pages do")
        linked = f'<script type="module" src="{provider}/exit.js"></script>'
        saved.write_text(_SCRIPT.sub(lambda _: linked, _POLICY.sub("", text)), encoding="utf-8")
    report.told("bytes of the saved page, which holds everything", len(text.encode()))
    return saved


async def _connect(page: Page, stood: Stage) -> None:
    """By keyboard, as a person without a mouse would: node, wallet."""
    await page.get_by_label("RPC address").fill(stood.rpc_url)
    await page.keyboard.press("Enter")
    await page.get_by_text("a local network").wait_for()
    await page.locator("summary", has_text="Use a local test wallet").click()
    await page.get_by_label("Secret key of the local test wallet").fill(_keypair_file(stood.agent))
    await page.keyboard.press("Enter")
    await page.get_by_role("button", name="Local test wallet", exact=True).click()


async def _open_elsewhere(stood: Stage) -> tuple[Pubkey, Pubkey]:
    """A stock session with a payee that nobody serves, of all that the payer has of a Token-2022 mint.

    Its address and the mint's.
    """
    payer, program = stood.agent, TOKEN_2022_PROGRAM_ID
    mint = await create_mint(stood.chain, stood.authority, token_program=program)
    await mint_to(stood.chain, stood.authority, owner=payer.pubkey(), mint=mint, amount=DEPOSIT, token_program=program)
    token = derive_ata(payer.pubkey(), mint, program)
    params = OpenParams(
        payer=payer.pubkey(),
        rent_payer=payer.pubkey(),
        payee=(payee := Keypair().pubkey()),
        mint=mint,
        authorized_signer=payee,
        salt=1,
        deposit=DEPOSIT,
        grace_period=MIN_GRACE_PERIOD,
        open_slot=await stood.chain.slot(),
        payer_token=token,
        token_program=program,
    )
    emptied = Instruction(
        program,
        CLOSE_ACCOUNT_DATA,
        [
            AccountMeta(token, is_signer=False, is_writable=True),
            AccountMeta(payer.pubkey(), is_signer=False, is_writable=True),
            AccountMeta(payer.pubkey(), is_signer=True, is_writable=False),
        ],
    )
    latest = await stood.chain.latest_blockhash()
    transaction, signature = sign_transaction(payer, [open_session(params), emptied], latest.blockhash)
    await stood.chain.send(transaction)
    await stood.until_final(str(signature))
    return derive_session(params.seeds)[0], mint


async def _leave(page: Page, report: Report, stood: Stage, sessions: list[Pubkey]) -> None:
    """All of them side by side, each click a hasty double one: the second must do nothing."""
    cards = [page.get_by_role("article", name=str(session)) for session in sessions]
    for card in cards:
        await card.get_by_role("button", name="Request the close").dblclick()
    for card in cards:
        await expect(card).to_have_attribute("data-stage", "waiting")
    accounts = [account for one in sessions if (account := await session_account(stood.chain, one))]
    closing = [account.status for account in accounts]
    report.equal("sessions that are closing on chain", closing.count(ChainStatus.CLOSING), len(sessions))
    deadlines = [deadline for account in accounts if (deadline := account.deadline())]
    report.equal("ways to withdraw before the deadline", await _withdrawals(page), 0)
    report.told("countdown after the requests", await page.get_by_role("timer").all_inner_texts())
    await time_travel(stood.rpc_url, min(deadlines) - 120)
    for card in cards:
        await expect(card.get_by_role("timer")).to_have_text(re.compile(r"^[012]:\d\d$"))
    report.told("countdown two minutes before the first deadline", await page.get_by_role("timer").all_inner_texts())
    report.equal("ways to withdraw then", await _withdrawals(page), 0)
    await time_travel(stood.rpc_url, max(deadlines))
    for card in cards:
        await card.get_by_role("button", name="Withdraw").dblclick()
    for card in cards:
        await expect(card).to_have_attribute("data-stage", "over")
        said = await card.get_by_role("status").inner_text()
        report.equal("what the page says came back", said.split(" ", 1)[0], f"{DEPOSIT / 10**6}")


async def _withdrawals(page: Page) -> int:
    return await page.get_by_role("button", name="Withdraw").count()


def _keypair_file(key: Keypair) -> str:
    return json.dumps(list(bytes(key)))
