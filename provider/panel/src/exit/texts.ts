/** Every sentence of the page, in one place. Each problem says what to do. */

import { formatAmount, tokenName } from '../chain/amounts';
import { type ChainError, type ProgramErrorName, programError } from '../chain/errors';
import type { Session } from '../chain/session';
import type { Ending, Problem } from './model';

export const TEXTS = {
  title: 'The way out',
  lead: 'Take back what is left of your deposits. This page talks to the Solana node that you choose and to your wallet, and to nobody else: it needs nothing of the provider.',
  node: '1. A Solana node',
  nodeLabel: 'RPC address',
  nodeHint: 'Any node of the network where you paid will do: https://…, or http:// on this computer.',
  nodeUse: 'Use this node',
  nodeIs: { 'solana:mainnet': 'mainnet', 'solana:devnet': 'devnet', 'solana:localnet': 'a local network' },
  wallet: '2. The wallet that paid',
  walletNone:
    'No Solana wallet was found in this browser. Open this page in the browser that has it. If the page is a saved file, allow the wallet extension “access to file URLs” in the browser’s extension settings, or serve the folder (python3 -m http.server) and open http://localhost:8000/exit.html.',
  walletLocal: 'Use a local test wallet',
  walletLocalKey: 'Secret key of the local test wallet (64 hex digits, or the 64 numbers of a keypair file)',
  walletLocalStored: 'The key of this browser’s test wallet, to paste it above or into a saved page:',
  walletLocalBad: 'That is no secret key: 64 hex digits, or 64 numbers in brackets.',
  sessions: '3. Your sessions',
  sessionsNone: 'This wallet has no sessions on this chain: everything was paid out or taken back.',
  sessionsAgain: 'Look again',
  addLabel: 'Address of a session',
  addHint: 'For nodes that cannot search: the address that the provider’s page or a receipt showed.',
  add: 'Add it',
  addSummary: 'Add a session by its address',
  open: (grace: string) =>
    `Open. Requesting the close starts a grace period of ${grace}: until it ends, the provider may still claim what you used.`,
  waiting: 'Close requested. You can withdraw in',
  due: 'The grace period is over: nothing more can be claimed.',
  settled: 'Paid out by the provider. Its account’s rent can be taken back',
  settledLater: (slots: bigint) => `in about ${(slots * 2n) / 5n / 60n + 1n} minutes.`,
  settledNow: 'now.',
  requestClose: 'Request the close',
  withdraw: 'Withdraw',
  costs: 'Costs the network fee of 0.000005 SOL.',
  costsWithdraw:
    'Costs the network fee of 0.000005 SOL; the rent of the session’s accounts goes back to whoever paid it.',
  signing: 'Waiting for your wallet…',
  confirming: 'Sent. Waiting until nothing can take it back…',
  working: 'Working…',
  save: 'Save this page',
  saveHint: 'It is one file and works without this site: keep it beside your wallet’s backup.',
  labels: {
    left: 'Left in the session',
    deposit: 'Deposited',
    settled: 'Paid to the provider',
    payee: 'Provider',
    address: 'Session',
  },
} as const;

const PROGRAM: Record<ProgramErrorName, string> = {
  UnauthorizedPayer: 'Only the wallet that paid can request the close: connect that one.',
  SessionNotOpen: 'The close was requested already. Look again.',
  WrongPayerToken: 'The token account is not yours any more. Look again and withdraw once more.',
  TokenAccountFrozen:
    'Your token account is frozen. Ask the token’s issuer to thaw it; your money stays in the session.',
  DeadlineNotReached:
    'The chain’s clock is a little behind: the deadline is not reached yet. Try again in a few seconds.',
  WindowNotOver: 'The session’s address is still reserved. Try again in a few minutes.',
};

/** What went wrong with a node, a wallet, or something typed. */
export function problemText(problem: Problem): string {
  switch (problem.kind) {
    case 'bad-url':
      return 'That is no address of a node: https://…, or http://localhost:… on this computer.';
    case 'bad-address':
      return 'That is no address: it has 32 to 44 letters and digits.';
    case 'no-session':
      return 'There is no session at this address any more: it was paid out, or it is on another network.';
    case 'other-payer':
      return 'Another wallet paid for this session: connect that one.';
    case 'refused':
      return 'You said no in your wallet. Nothing happened.';
    case 'locked':
      return 'Your wallet is locked. Unlock it and try again. Nothing happened.';
    case 'wrong-network':
      return 'Your wallet’s account is not on this node’s network. Switch the network in your wallet, or use a node of the other one.';
    case 'unsupported':
      if ('feature' in problem)
        return `This wallet cannot do that (${problem.feature}). Use another one with the same key.`;
      return 'This node does not search for sessions. Use another node, or add the session by its address below.';
    case 'failed':
      return `Your wallet says: ${problem.reason}`;
    default:
      return chainText(problem);
  }
}

/** How a step ended, in a sentence. */
export function endingText(ending: Ending, session: Session): string {
  switch (ending.kind) {
    case 'requested':
      return 'Requested by this transaction:';
    case 'returned':
      return `${amountText(ending.amount, session)} came back to your wallet.${ending.proven ? '' : ' (The node does not show the transaction yet.)'}`;
    case 'gone':
      return 'This session is over: what was not used went back to your wallet.';
    case 'changed':
      return 'The session changed meanwhile. Look again.';
    case 'no-sol':
      return `Your wallet needs ${formatAmount(ending.lamports, 9)} SOL more for the network fee. Send it some and try again.`;
    case 'frozen':
      return PROGRAM.TokenAccountFrozen;
    case 'expired':
      return 'The network did not take the transaction in time. Nothing happened: try again.';
    case 'unknown':
      return 'The node could not say whether the transaction arrived. Look again before you retry; a second try can do no harm.';
    case 'unread':
      return chainText(ending.error);
    case 'refused':
      return 'error' in ending ? chainText(ending.error) : problemText(ending);
    case 'failed':
      return 'error' in ending ? chainText(ending.error) : problemText(ending);
    default:
      return problemText(ending);
  }
}

/** An amount with the name of its token. */
export function amountText(units: bigint, session: Session): string {
  return `${formatAmount(units, session.decimals)} ${tokenName(session.mint)}`;
}

function chainText(error: ChainError): string {
  switch (error.kind) {
    case 'unreachable':
      return 'The node does not answer. Check its address and your connection; some nodes refuse questions from browsers.';
    case 'garbage':
      return 'What answers there is no Solana node. Check the address.';
    case 'busy':
      return 'The node is busy. Try again in a minute, or use another one.';
    case 'unsupported':
      return 'This node does not search for sessions. Use another node, or add the session by its address below.';
    case 'foreign':
      return `That is not what it should be: ${error.message}.`;
    case 'program': {
      const name = programError(error.code);
      return name ? PROGRAM[name] : `The program refused it (${error.code ?? 'no number'}): ${error.message}`;
    }
    default:
      return `The node refused it: ${error.message}`;
  }
}
