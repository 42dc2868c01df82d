/** Every sentence of the panel, in English. */

export const TEXTS = {
  title: 'Fund once, ask many',
} as const;
