/** Asking a connected wallet to sign. What comes back is checked: a wallet is somebody else's program. */

import { getBase58Decoder } from '@solana/kit';
import {
  SolanaSignAndSendTransaction,
  SolanaSignMessage,
  SolanaSignTransaction,
} from '@solana/wallet-standard-features';
import { parseAddress } from '../chain/addresses';
import { decodeTransaction } from '../chain/transactions';
import type { Cluster } from './clusters';
import { type Outcome, outcomeOf } from './outcomes';
import { type Connected, featuresOf } from './wallets';

/** A transaction that somebody has still to send, or the signature of one that the wallet sent itself. */
export type Signed =
  { readonly sent: false; readonly transaction: Uint8Array } | { readonly sent: true; readonly signature: string };

const SIGNATURE_LENGTH = 64;

/** The wallet's signature on a transaction, which it does not send. */
export function signTransaction(
  connected: Connected,
  transaction: Uint8Array,
  chain: Cluster,
): Promise<Outcome<Uint8Array>> {
  const { wallet, account } = connected;
  const feature = featuresOf(wallet)[SolanaSignTransaction];
  return outcomeOf<Uint8Array>(async () => {
    if (!feature) return { kind: 'unsupported', feature: SolanaSignTransaction };
    if (!isOn(connected, chain)) return { kind: 'wrong-network' };
    const [output] = await feature.signTransaction({ account, transaction, chain });
    const signed = output && new Uint8Array(output.signedTransaction);
    const payer = parseAddress(account.address);
    // A wallet may add to what it signs, a fee for instance; but it must have signed.
    if (!signed || !payer || !decodeTransaction(signed)?.signatures.get(payer)) {
      return { kind: 'failed', reason: `${wallet.name} returned no transaction signed by ${account.address}` };
    }
    return { kind: 'done', value: signed };
  });
}

/**
 * Signed by the wallet, and sent by it only where it cannot do less: a page that sends by its own node knows that the
 * transaction goes to the cluster that it reads.
 */
export async function signToSend(
  connected: Connected,
  transaction: Uint8Array,
  chain: Cluster,
): Promise<Outcome<Signed>> {
  const signed = await signTransaction(connected, transaction, chain);
  if (signed.kind === 'done') return { kind: 'done', value: { sent: false, transaction: signed.value } };
  const feature = featuresOf(connected.wallet)[SolanaSignAndSendTransaction];
  if (signed.kind !== 'unsupported' || !feature) return signed;
  return outcomeOf<Signed>(async () => {
    if (!isOn(connected, chain)) return { kind: 'wrong-network' };
    const { wallet, account } = connected;
    const [output] = await feature.signAndSendTransaction({ account, transaction, chain });
    if (output?.signature.length !== SIGNATURE_LENGTH) {
      return { kind: 'failed', reason: `${wallet.name} returned no signature` };
    }
    return { kind: 'done', value: { sent: true, signature: getBase58Decoder().decode(output.signature) } };
  });
}

/** The wallet's 64-byte Ed25519 signature over exactly these bytes, which are text: never a transaction in disguise. */
export function signMessage(connected: Connected, message: Uint8Array): Promise<Outcome<Uint8Array>> {
  const { wallet, account } = connected;
  const feature = featuresOf(wallet)[SolanaSignMessage];
  return outcomeOf<Uint8Array>(async () => {
    if (!feature) return { kind: 'unsupported', feature: SolanaSignMessage };
    if (!isText(message))
      return { kind: 'failed', reason: 'this is no text that a person could read, and was not signed' };
    const [output] = await feature.signMessage({ account, message });
    const unchanged =
      output?.signedMessage.length === message.length && message.every((byte, at) => output.signedMessage[at] === byte);
    if (output?.signature.length !== SIGNATURE_LENGTH || !unchanged) {
      return { kind: 'failed', reason: `${wallet.name} signed something else than the message` };
    }
    return { kind: 'done', value: new Uint8Array(output.signature) };
  });
}

/** Every transaction begins with a count of signers or a version, neither of which is a letter. */
function isText(message: Uint8Array): boolean {
  try {
    return !/[^\P{Cc}\n]/u.test(new TextDecoder('utf-8', { fatal: true }).decode(message)) && message.length > 0;
  } catch {
    return false;
  }
}

function isOn({ account }: Connected, chain: Cluster): boolean {
  return account.chains.includes(chain);
}
