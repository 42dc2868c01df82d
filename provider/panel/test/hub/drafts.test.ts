import { beforeEach, expect, it } from 'vitest';
import { KeptDrafts, NEW_CARD, QUESTION } from '../../src/hub/drafts';
import { KeptHub } from '../../src/hub/seen';
import { storage } from '../storage';

let kept: Storage;
beforeEach(() => {
  kept = storage();
});

it('keeps drafts for the next page, beside those that other tabs wrote', () => {
  const [one, other] = [new KeptDrafts(kept), new KeptDrafts(kept)];
  one.write(QUESTION, 'What if');
  other.write('qs-1', 'And then');
  expect(one.write(NEW_CARD, 'New')).toEqual({ [QUESTION]: 'What if', 'qs-1': 'And then', [NEW_CARD]: 'New' });
  expect(new KeptDrafts(kept).read()).toEqual(one.read());
});

it('forgets what was sent, and cards whose session is over, but not the question', () => {
  const drafts = new KeptDrafts(kept);
  drafts.write('qs-1', 'gone with its session');
  drafts.write(QUESTION, 'stays');
  expect(drafts.forgetCards()).toEqual({ [QUESTION]: 'stays' });
  expect(drafts.write(QUESTION, '')).toEqual({});
  expect(kept.getItem('retainer.drafts')).toBeNull();
});

it.each(['{', 'null', '7', '{"a":1,"b":"text"}'])('takes %s for what can be read of it', (text) => {
  kept.setItem('retainer.drafts', text);
  expect(new KeptDrafts(kept).read()).toEqual(text.includes('"b"') ? { b: 'text' } : {});
});

it('knows how far cards were read, by their session', () => {
  const hub = new KeptHub(kept);
  expect(hub.seen('one')).toBeNull();
  hub.saw('one', { 'qs-1': 4 });
  expect(new KeptHub(kept).seen('one')).toEqual({ 'qs-1': 4 });
  expect(hub.seen('two')).toBeNull();
  hub.forget();
  expect(hub.seen('one')).toBeNull();
});

it('remembers the pin', () => {
  new KeptHub(kept).pinned = true;
  expect(new KeptHub(kept).pinned).toBe(true);
  new KeptHub(kept).pinned = false;
  expect(new KeptHub(kept).pinned).toBe(false);
});
