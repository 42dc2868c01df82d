/** Every sentence about cards, beside those of the panel in en.ts. Problems say what to do. */

import type { ApiError } from '../api/client';
import type { CardStatus } from '../hub/types';
import { problemText } from './en';

export const CARDS = {
  hub: 'Cards',
  hubKeys: 'Ctrl+K',
  lead: 'Small conversations beside the main one, paid by the same session.',
  show: ({ fresh, failed, running }: { fresh: number; failed: boolean; running: boolean }) =>
    ['Cards', fresh > 0 && `${fresh} with something new`, failed && 'one needs you', running && 'one is being answered']
      .filter(Boolean)
      .join(', '),
  hide: 'Close the cards',
  pin: 'Keep the cards beside the conversation',
  unpin: 'Let the cards float',
  loading: 'Reading your cards…',

  noSession: 'Cards are paid by a session',
  noSessionHint: 'Fund one, and start as many small conversations on it as its balance covers.',
  sessionGone:
    'Your session has changed in another tab. What you wrote is still here: wait a moment, and send it again.',
  toFunding: 'Go to funding',
  otherOffer: 'Nobody who answers on cards takes your session’s offer. Fund a session of another offer.',
  left: (balance: string) => `${balance} left`,

  find: 'Find a card',
  status: 'Status',
  everything: 'All cards',
  none: 'No cards yet',
  noneHint: 'Ask something above: that makes the first one.',
  noneFits: 'No card fits.',
  showAll: 'Show all',
  noneArchived: 'Nothing is archived.',
  older: 'Older cards',
  list: 'Your cards',

  fresh: 'A new card',
  freshPlaceholder: 'Ask on a new card',
  start: 'Start',
  starting: 'Starting…',
  who: 'Who answers',
  titleToo: 'Title',
  titleOptional: 'Title it yourself (optional)',
  costWithTitle: (name: string, turn: string) => `${name} answers for ${turn}.`,
  costWithoutTitle: (name: string, turn: string, both: string) =>
    `Two turns of ${name}: a title for ${turn}, then the answer. ${both} in all; title it yourself to save one.`,
  upTo: (amount: string) => `at most ${amount}`,

  untitled: 'Untitled',
  offline: 'offline',
  offlineHint: (name: string) => `${name} is offline. What you send waits, and costs nothing until it is answered.`,
  draft: 'draft',
  newLines: (count: number) => `${count} new`,
  answersBy: (name: string) => `${name} answers`,
  empty: 'Nothing was said yet.',

  back: 'All cards',
  closeThread: 'Close this card',
  editTitle: 'Change the title',
  titleLabel: 'Title of this card',
  titleLeft: (left: number) =>
    left === 0 ? 'As long as a title can be' : `Room for ${left} more ${left === 1 ? 'character' : 'characters'}`,
  titleLong: (by: number | null) =>
    by === null
      ? 'A title holds at most 4096 bytes. Use fewer accents and joined emoji.'
      : `${by} ${by === 1 ? 'character' : 'characters'} too many: a title holds at most 80. Shorten it.`,
  titleUnseen: 'Nothing of this title can be seen. Type something visible.',
  saveTitle: 'Save',
  giveTitle: 'Give it a title',
  cancel: 'Cancel',
  gate: (turn: string) =>
    `No title yet. Until there is one, only whoever made this card can write on it; and before it answers, the responder finds one in a turn of its own, for ${turn}. Give it one yourself to save that.`,
  gateOthers: (creator: string) => `${creator} made this card. Give it a title, and everybody can write on it.`,
  spent: (amount: string) => `${amount} spent on this card`,
  thread: 'What was said',
  line: (number: number) => `Line ${number}`,
  you: 'you',
  titling: 'Finding a title…',
  thinking: 'Thinking…',
  waits: (count: number) => (count === 1 ? 'Waits for its turn.' : `${count} turns wait.`),
  failed: 'The last turn failed',
  retry: 'Try again',
  retrying: 'Trying again…',
  message: 'Your message',
  send: 'Send',
  sending: 'Sending…',
  perTurn: (amount: string) => `${amount} a turn`,
  archive: 'Archive',
  archiveSure: 'It stays readable, but takes nothing more, for good.',
  archiveNow: 'Archive it',
  archived: 'This card is archived and takes nothing more.',
  goOn: 'Go on with a new card that refers to it',

  refer: (name: string) => `Refer to ${name}`,
  referTo: (name: string) => `Put a reference to ${name} into`,
  toQuestion: 'your question',
  toNew: 'a new card',
  referred: (name: string, where: string) => `A reference to ${name} waits in ${where}.`,
  draftOf: (name: string) => `the draft of ${name}`,
  nameLine: (name: string, line: number) => `line ${line} of ${name}`,
  unknownReference: 'This session has no such card or line.',

  made: 'The card was made.',
  sent: 'Sent.',
  titled: (title: string) => `Now called ${title}.`,
  wasArchived: 'Archived.',
  answered: (name: string) => `${name} was answered.`,
  wentWrong: (name: string) => `${name}: the turn failed.`,
} as const;

export const CARD_STATUS_NAMES: Readonly<Record<CardStatus, string>> = {
  needs_title: 'Needs a title',
  running: 'Being answered',
  active: 'Active',
  error: 'Failed',
  archived: 'Archived',
};

const PROBLEMS: Readonly<Record<string, string>> = {
  'quick-session-unknown': 'Your session has no such card. It may be of an older session.',
  'quick-session-id-invalid': 'This is no card’s address. Open it from the list.',
  'quick-session-id-collision': 'The card could not be made. Start it again.',
  'quick-session-archived': 'This card is archived and takes nothing more. Start a new one that refers to it.',
  'quick-session-title-required': 'This card needs a title before anybody but its creator writes on it. Give it one.',
  'quick-session-title-invalid': 'A title is one line of 1 to 80 characters. Shorten it.',
  'quick-session-message-invalid': 'This cannot be sent as it is. Write something of at most 65 536 bytes.',
  'quick-session-cards-full':
    'Your session has as many cards as it may. Go on with one of them, or fund another session.',
  'quick-session-turns-full': 'Too many messages wait already. Wait until some are answered, or archive cards.',
  'responder-unknown': 'This responder is not here any more. Choose another.',
  'route-unknown': 'This provider has no cards any more.',
};

/** What a refusal means for whoever did something with a card. */
export function cardProblem(error: ApiError): string {
  return (error.kind === 'refused' && PROBLEMS[error.problem]) || problemText(error);
}

/** A card as one speaks of it. */
export function nameOf({ title, preview }: { title: string | null; preview: string }): string {
  const name = title ?? preview;
  return name ? `“${name}”` : CARDS.untitled;
}

/** When something was, as short as it is still clear: "now", "5 min", "14:02", "3 Nov", "3 Nov 2025". */
export function when(at: number, now: number): string {
  const then = new Date(at * 1000);
  const today = new Date(now * 1000);
  if (now - at < 60) return 'now';
  if (now - at < 3600) return `${Math.floor((now - at) / 60)} min`;
  if (then.toDateString() === today.toDateString())
    return then.toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' });
  const year = then.getFullYear() === today.getFullYear() ? {} : ({ year: 'numeric' } as const);
  return then.toLocaleDateString('en-GB', { day: 'numeric', month: 'short', ...year });
}
