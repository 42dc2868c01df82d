/** Clusters as wallets name them, told apart by their first block. */

export type Cluster = 'solana:mainnet' | 'solana:devnet' | 'solana:localnet';

const GENESIS: Readonly<Record<string, Cluster>> = {
  '5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d': 'solana:mainnet',
  EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxkPkZBG: 'solana:devnet',
};

/** The cluster that begins with this hash; any that neither name has is a local one. */
export function clusterOf(genesisHash: string): Cluster {
  return GENESIS[genesisHash] ?? 'solana:localnet';
}

/** The cluster that the service's `network` names, as in `/api/offers`; null for a name that nobody knows. */
export function clusterNamed(network: string): Cluster | null {
  const clusters: readonly string[] = [...Object.values(GENESIS), 'solana:localnet'];
  const name = `solana:${network}`;
  return clusters.includes(name) ? (name as Cluster) : null;
}
