/** What comes late finds that the person has gone on, and takes nothing away from under their hands. */

import { beforeEach, describe, expect, it, vi } from 'vitest';
import { readSession } from '../../src/api/read';
import { NEW_CARD } from '../../src/hub/drafts';
import { CARDS } from '../../src/texts/cards';
import { storage } from '../storage';
import { CardProvider, cardId, NOW } from './cards';
import { Page } from './page';

const OTHER = '4Nd1mBQtrMJVYVfKf2PJy9NZUZdTAsp7D4xWLs4gDB4T';

let provider: CardProvider;
let page: Page;
beforeEach(async () => {
  provider = new CardProvider();
  page = await new Page(provider, storage()).opened();
});

/** Two cards with a line each; the first is shown. */
async function two() {
  const cards = [provider.add({ title: 'One', status: 'active' }), provider.add({ title: 'Two', status: 'active' })];
  for (const card of cards) provider.write(card, 'me', `said on ${card.title}`);
  page.hub.open(cards[0]!.id);
  await page.settled();
  return [cards[0]!, cards[1]!] as const;
}

const asked = (call: string) => vi.waitFor(() => expect(provider.calls).toContain(call));

describe('while a message is on its way', () => {
  it('what is typed behind it stays', async () => {
    const [one] = await two();
    const release = provider.hold(`POST /cards/${one.id}/messages`);
    page.hub.draft(one.id, 'First.');
    const sending = page.hub.send(one.id);
    page.hub.draft(one.id, 'First. And more');
    release();
    expect(await sending).toBe(true);
    expect(page.state.drafts[one.id]).toBe('And more');
    page.hub.draft(one.id, 'Second.');
    const hold = provider.hold(`POST /cards/${one.id}/messages`);
    const again = page.hub.send(one.id);
    page.hub.draft(one.id, 'Something else');
    hold();
    await again;
    expect(page.state.drafts[one.id]).toBe('Something else');
  });

  it('another card takes one as well', async () => {
    const [one, two_] = await two();
    const release = provider.hold(`POST /cards/${one.id}/messages`);
    page.hub.draft(one.id, 'To one');
    const sending = page.hub.send(one.id);
    page.hub.open(two_.id);
    page.hub.draft(two_.id, 'To two');
    expect(await page.hub.send(two_.id)).toBe(true);
    expect(page.state.busy).toEqual([one.id]);
    release();
    expect(await sending).toBe(true);
    expect(page.state).toMatchObject({ busy: [], drafts: {}, shown: two_.id });
  });
});

it('a card that was made shows itself only to who still waits for it', async () => {
  const [, other] = await two();
  const release = provider.hold('POST /cards');
  page.hub.draft(NEW_CARD, 'Why?');
  const making = page.hub.create('ada', '');
  page.hub.open(other.id);
  release();
  expect(await making).toBe(true);
  await page.settled();
  expect(page.state.shown).toBe(other.id);
  expect(page.state.cards?.map(({ id }) => id)).toContain(cardId(3));
});

it('a card that was archived closes no other', async () => {
  const [one, other] = await two();
  const release = provider.hold(`POST /cards/${one.id}/archive`);
  const archiving = page.hub.archive(one.id);
  page.hub.open(other.id);
  release();
  await archiving;
  expect(page.state.shown).toBe(other.id);
});

it('a thread that was closed and opened again while it was read has all its lines', async () => {
  const [one] = await two();
  const call = `GET /cards/${one.id}?after=1`;
  const release = provider.hold(call);
  provider.write(one, 'ada', 'answered');
  const reading = page.hub.follow.refresh();
  await asked(call);
  page.hub.closeThread();
  page.hub.open(one.id);
  release();
  await reading;
  await page.settled();
  expect(page.state.lines?.map(({ number }) => number)).toEqual([1, 2]);
});

it('a card that is gone closes no other', async () => {
  const [one, other] = await two();
  const call = `GET /cards/${one.id}?after=1`;
  const release = provider.hold(call);
  provider.cards.splice(0, 1);
  const reading = page.hub.follow.refresh();
  await asked(call);
  page.hub.open(other.id);
  release();
  await reading;
  await page.settled();
  expect(page.state).toMatchObject({ shown: other.id, trouble: null });
});

it('older cards come behind those that were made meanwhile', async () => {
  await two();
  const release = provider.hold(`GET /cards?archived=false&before=${cardId(1)}`);
  const reading = page.hub.older();
  provider.add({ title: 'Three' });
  await page.hub.follow.refresh();
  release();
  expect(await reading).toBe(true);
  expect(page.titles()).toEqual(['Three', 'Two', 'One']);
});

it('an answer to the cards of a session that is over is nobody’s', async () => {
  const [one] = await two();
  const release = provider.hold(`POST /cards/${one.id}/retry`);
  const retrying = page.hub.retry(one.id);
  page.store.set({ session: readSession({ ...provider.session, sessionId: OTHER }) });
  await page.hub.follow.tick(NOW + 1);
  release();
  expect(await retrying).toBe(false);
  expect(page.state).toMatchObject({ cards: null, busy: [], said: '' });
});

it('a message for a session that another tab has replaced stays a draft, and says why', async () => {
  const [one] = await two();
  page.keeping.write({ sessionId: OTHER, token: 'token-2', invoice: null });
  page.hub.draft(one.id, 'Hear me');
  expect(await page.hub.send(one.id)).toBe(false);
  expect(page.state).toMatchObject({
    drafts: { [one.id]: 'Hear me' },
    trouble: { place: one.id, text: CARDS.sessionGone },
  });
});

it('a card that is started while the list is read for the first time is made once', async () => {
  const early = new Page(provider, storage());
  let arrive = () => {};
  provider.lists = new Promise((come) => (arrive = come));
  const opening = early.hub.follow.tick(NOW);
  await vi.waitFor(() => expect(provider.calls.filter((one) => one.startsWith('GET /cards?'))).toHaveLength(2));
  provider.lose = true;
  early.hub.draft(NEW_CARD, 'Why?');
  expect(await early.hub.create('ada', '')).toBe(false);
  arrive();
  await opening;
  expect(await early.hub.create('ada', '')).toBe(true);
  expect(provider.cards).toHaveLength(1);
});

it('what the next turn says stays, though the last one is only now read', async () => {
  const [one] = await two();
  page.heard('thinking', one.id, { text: 'first answer' });
  let arrive = () => {};
  provider.lists = new Promise((come) => (arrive = come));
  page.heard('done', one.id, { kind: 'answer' });
  page.heard('thinking', one.id, { text: 'second answer' });
  arrive();
  await page.settled();
  expect(page.state.saying[one.id]?.text).toBe('second answer');
});
