import { describe, expect, it } from 'vitest';
import type { AskRule } from '../../src/api/types';
import { pieceOf, readable, requestOf } from '../../src/app/questions';

const RULE: AskRule = {
  method: 'POST',
  path: '/v1/ask',
  body: { question: '{question}' },
  answer: '/answer',
  streams: false,
};

describe('a question', () => {
  it('stands in the body where the rule says', () => {
    const chat = { model: 'small', n: 1, messages: [{ role: 'user', content: 'Briefly: {question}' }] };
    const asked = requestOf({ ...RULE, body: chat }, 'Why "$&"?');
    expect(asked).toMatchObject({ method: 'POST', path: '/v1/ask', headers: { 'content-type': 'application/json' } });
    expect(JSON.parse(asked.body ?? '')).toEqual({
      ...chat,
      messages: [{ role: 'user', content: 'Briefly: Why "$&"?' }],
    });
  });

  it('is encoded where it stands in an address, and a GET has nothing else', () => {
    const asked = requestOf({ ...RULE, method: 'GET', path: '/v1/search?q={question}&n=3', body: null }, 'a&b #ü/?');
    expect(asked).toEqual({ method: 'GET', path: '/v1/search?q=a%26b%20%23%C3%BC%2F%3F&n=3' });
  });
});

it.each([
  ['{"answer":"Yes."}', '/answer', 'Yes.'],
  ['{"choices":[{"message":{"content":"**Yes**"}}]}', '/choices/0/message/content', '**Yes**'],
  ['{"a/b":{"m~n":"x"}}', '/a~1b/m~0n', 'x'],
  ['{"other":1}', '/answer', '{\n  "other": 1\n}'],
  ['{"answer":{"n":1}}', '/answer', '{\n  "n": 1\n}'],
  ['{"answer":"Yes."}', '', '{\n  "answer": "Yes."\n}'],
  ['{"answer":"x"}', '/constructor', '{\n  "answer": "x"\n}'],
  ['plain <b>text</b>', '/answer', 'plain <b>text</b>'],
  ['"a text"', '/answer', 'a text'],
])('of %s at %s is shown %s', (body, pointer, shown) => {
  expect(readable(body, pointer)).toBe(shown);
});

it.each([
  ['{"choices":[{"delta":{"content":"Ye"}}]}', '/choices/0/delta/content', 'Ye'],
  ['{"choices":[{"delta":{"role":"assistant"}}]}', '/choices/0/delta/content', ''],
  ['{"choices":[{"delta":{"content":null}}]}', '/choices/0/delta/content', ''],
  ['[DONE]', '/answer', ''],
  ['some text', '/answer', 'some text'],
  ['7', '/answer', '7'],
])('an event with %s at %s adds %s', (data, pointer, piece) => {
  expect(pieceOf(data, pointer)).toBe(piece);
});
