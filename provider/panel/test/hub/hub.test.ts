import { beforeEach, describe, expect, it } from 'vitest';
import { readSession } from '../../src/api/read';
import { NEW_CARD, QUESTION } from '../../src/hub/drafts';
import { referenceText } from '../../src/hub/references';
import { listed, marks } from '../../src/hub/state';
import { CARDS } from '../../src/texts/cards';
import { storage } from '../storage';
import { CardProvider, cardId, NOW } from './cards';
import { Page } from './page';

let provider: CardProvider;
let kept: Storage;
let page: Page;
beforeEach(async () => {
  provider = new CardProvider();
  kept = storage();
  page = await new Page(provider, kept).opened();
});

describe('a new card', () => {
  it('is made of one field, and shown', async () => {
    page.hub.draft(NEW_CARD, '  Why? ');
    expect(await page.hub.create('ada', '')).toBe(true);
    await page.settled();
    expect(page.state).toMatchObject({ open: true, shown: cardId(1), drafts: {}, said: CARDS.made });
    expect(page.state.lines?.map(({ body }) => body)).toEqual(['Why?']);
  });

  it('is made once, though the answer was lost and it was started again', async () => {
    provider.lose = true;
    page.hub.draft(NEW_CARD, 'Why?');
    expect(await page.hub.create('ada', '')).toBe(false);
    expect(page.state.drafts[NEW_CARD]).toBe('Why?');
    expect(page.store.state.outage).not.toBeNull();
    expect(await page.hub.create('ada', '')).toBe(true);
    expect(provider.cards).toHaveLength(1);
    page.hub.draft(NEW_CARD, 'Why?');
    await page.hub.create('ada', '');
    expect(provider.cards).toHaveLength(2);
  });

  it('is not made twice by a double click', async () => {
    page.hub.draft(NEW_CARD, 'Why?');
    expect(await Promise.all([page.hub.create('ada', ''), page.hub.create('ada', '')])).toEqual([true, false]);
    expect(provider.cards).toHaveLength(1);
  });
});

describe('a message', () => {
  it('stays a draft when it is refused, and what to do stands there', async () => {
    const card = provider.add({ creator: 'agent' });
    provider.refuse = 'quick-session-title-required';
    page.hub.draft(card.id, 'May I?');
    expect(await page.hub.send(card.id)).toBe(false);
    expect(page.state.drafts[card.id]).toBe('May I?');
    expect(page.state.trouble).toEqual({
      place: card.id,
      text: 'This card needs a title before anybody but its creator writes on it. Give it one.',
    });
  });

  it('is written once, though the answer was lost', async () => {
    const card = provider.add({ title: 'One' });
    provider.lose = true;
    page.hub.draft(card.id, 'Hear me');
    await page.hub.send(card.id);
    await page.hub.send(card.id);
    expect(card.thread).toHaveLength(1);
    expect(page.state.drafts).toEqual({});
  });
});

describe('a title', () => {
  it('changes in the list and on the card at once', async () => {
    const card = provider.add({ title: 'Old', status: 'active' });
    page.hub.open(card.id);
    await page.settled();
    await page.hub.retitle(card.id, 'New');
    expect(page.titles()).toEqual(['New']);
    expect(page.state.card?.title).toBe('New');
  });

  it('is not taken back by a list that was asked for before it was given', async () => {
    const card = provider.add({ title: 'Old', status: 'active' });
    await page.hub.follow.refresh();
    let arrive = () => {};
    provider.lists = new Promise((resolve) => (arrive = resolve));
    const reading = page.hub.follow.refresh();
    await page.hub.retitle(card.id, 'New');
    provider.lists = Promise.resolve();
    const shown: unknown[] = [];
    page.changed = () => shown.push(...page.titles());
    arrive();
    await reading;
    await page.settled();
    expect(new Set(shown)).toEqual(new Set(['New']));
  });
});

describe('archived cards', () => {
  it('leave the list, and are read anew each time they are asked for', async () => {
    const card = provider.add({ title: 'Done', status: 'active' });
    await page.hub.follow.refresh();
    page.hub.draft(card.id, 'never sent');
    expect(await page.hub.archive(card.id)).toBe(true);
    await page.settled();
    expect(page.titles()).toEqual([]);
    expect(page.state.drafts).toEqual({});
    const asked = () => provider.calls.filter((call) => call.includes('archived=true')).length;
    expect(asked()).toBe(0);
    page.hub.filter({ status: 'archived' });
    await page.settled();
    expect(page.titles()).toEqual(['Done']);
    page.hub.filter({ status: 'all' });
    provider.add({ title: 'Elsewhere', status: 'archived' });
    page.hub.filter({ status: 'archived' });
    await page.settled();
    expect(page.titles()).toEqual(['Elsewhere', 'Done']);
    expect(asked()).toBe(2);
  });
});

describe('references', () => {
  it('wait in the draft of a card that is not open, over a reload too', async () => {
    const [from, to] = [provider.add({ title: 'From' }), provider.add({ title: 'To' })];
    await page.hub.follow.refresh();
    const reference = referenceText({ card: from.id, line: 2 });
    page.hub.draft(to.id, 'As in');
    page.hub.put(to.id, { reference, name: '“From”' });
    page.hub.put(QUESTION, { reference, name: '“From”' });
    expect(to.thread).toHaveLength(0);
    const later = new Page(provider, kept);
    later.hub.start(window());
    await later.opened();
    expect(later.state.drafts).toEqual({ [to.id]: `As in ${reference} `, [QUESTION]: `${reference} ` });
  });

  it('in the address open their card', async () => {
    provider.add({ title: 'From' });
    const later = new Page(provider, kept);
    later.hub.start(window(`#${referenceText({ card: cardId(1), line: 2 })}`));
    await later.opened();
    await later.settled();
    expect(later.state).toMatchObject({ open: true, shown: cardId(1), sought: 2 });
  });

  it('to what is not there are told so', async () => {
    page.hub.open(cardId(77));
    await page.settled();
    expect(page.state).toMatchObject({ shown: null, trouble: { place: 'list' } });
  });
});

describe('what happens on a card', () => {
  it('shows on it, and nowhere in the conversation', async () => {
    const card = provider.add({ title: 'One', status: 'active' });
    await page.hub.follow.refresh();
    const { hub: _, ...before } = page.store.state;
    page.heard('thinking', card.id, { kind: 'answer', text: 'The moon' });
    expect(page.state.saying[card.id]).toEqual({ kind: 'answer', text: 'The moon' });
    expect(listed(page.state)?.[0]?.status).toBe('running');
    provider.write(card, 'ada', 'The moon pulls.');
    page.heard('done', card.id, { kind: 'answer' });
    await page.settled();
    expect(page.state.saying).toEqual({});
    expect(listed(page.state)?.[0]).toMatchObject({ status: 'active', preview: 'The moon pulls.' });
    const { hub: __, ...after } = page.store.state;
    expect(after).toEqual(before);
  });

  it('of another session, or of the main thread, is none of the hub’s', async () => {
    const card = provider.add({ title: 'One' });
    const before = page.state;
    for (const more of [{ session_id: 'other' }, { scope: 'main' }, { scope: 'session' }]) {
      page.heard('thinking', card.id, { kind: 'answer', ...more });
    }
    expect(page.state).toBe(before);
  });

  it('is new until it was shown', async () => {
    const card = provider.add({ title: 'One', status: 'active' });
    provider.write(card, 'ada', 'News');
    await page.hub.follow.refresh();
    expect(marks(page.state)).toMatchObject({ fresh: 1, failed: false, running: false });
    page.hub.open(card.id);
    await page.settled();
    expect(marks(page.state).fresh).toBe(0);
    page.hub.hide();
    expect(marks(page.state).fresh).toBe(0);
    provider.write(card, 'ada', 'More');
    await page.hub.follow.refresh();
    expect(marks(page.state).fresh).toBe(1);
    page.hub.show();
    await page.settled();
    expect(marks(page.state).fresh).toBe(0);
  });

  it('is not new to whoever wrote it', async () => {
    const card = provider.add({ title: 'One', status: 'active' });
    await page.hub.follow.refresh();
    page.hub.draft(card.id, 'Mine');
    await page.hub.send(card.id);
    await page.settled();
    expect(marks(page.state).fresh).toBe(0);
    provider.write(card, 'ada', 'News');
    await page.hub.follow.refresh();
    expect(marks(page.state).fresh).toBe(1);
  });

  it('is asked for every few seconds while no events arrive', async () => {
    page.store.set({ live: false });
    const lists = () => provider.calls.filter((call) => call.startsWith('GET /cards?')).length;
    const before = lists();
    for (let second = 1; second <= 6; second += 1) await page.hub.follow.tick(NOW + second);
    expect(lists() - before).toBe(2);
    page.store.set({ live: true });
    for (let second = 7; second <= 12; second += 1) await page.hub.follow.tick(NOW + second);
    expect(lists() - before).toBe(3);
  });
});

it('knows who is offline', async () => {
  provider.online = false;
  page.hub.show();
  await page.hub.follow.tick(NOW + 15);
  expect(page.state.responders.map(({ online }) => online)).toEqual([false, false]);
});

it('forgets everything of a session that is over, but the question', async () => {
  const card = provider.add({ title: 'One' });
  provider.write(card, 'ada', 'text');
  await page.hub.follow.refresh();
  page.hub.open(card.id);
  page.hub.draft(card.id, 'unsent');
  page.hub.draft(QUESTION, 'kept');
  page.store.set({ session: readSession({ ...provider.session, state: 'refunded' }) });
  await page.hub.follow.tick(NOW + 1);
  expect(page.state).toMatchObject({ cards: null, shown: null, lines: null, drafts: { [QUESTION]: 'kept' } });
  expect(kept.getItem('retainer.seen')).toBeNull();
});

it('says of any other refusal what the provider says', async () => {
  const card = provider.add({ title: 'One' });
  provider.refuse = 'something-new';
  page.hub.draft(card.id, 'text');
  await page.hub.send(card.id);
  expect(page.state.trouble?.text).toBe('detail of something-new');
});

/** As much of a window as the hub looks at. */
function window(hash = ''): Window {
  return {
    location: { hash },
    matchMedia: () => ({ matches: false, addEventListener: () => {} }),
    addEventListener: () => {},
  } as unknown as Window;
}
