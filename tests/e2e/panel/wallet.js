// A wallet of the Wallet Standard whose keys and moods are with the test: every request goes to it by `askWallet`.
(() => {
  const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const text = (array) => btoa(String.fromCharCode(...array));
  const ask = async (request, payload = '') => {
    const { error, ...answer } = await window.askWallet(request, payload);
    if (error) throw Object.assign(new Error(error.message), { code: error.code });
    return answer;
  };
  const each = (read) => (...inputs) => Promise.all(inputs.map(read));
  const told = (account) => ({ ...account, publicKey: bytes(account.publicKey) });
  const listeners = new Set();

  const register = (options) => {
    const signing = {
      'solana:signTransaction': {
        version: '1.0.0',
        supportedTransactionVersions: ['legacy', 0],
        signTransaction: each(async ({ transaction }) => ({
          signedTransaction: bytes((await ask('transaction', text(transaction))).signed),
        })),
      },
    };
    const sending = {
      'solana:signAndSendTransaction': {
        version: '1.0.0',
        supportedTransactionVersions: ['legacy', 0],
        signAndSendTransaction: each(async ({ transaction }) => ({
          signature: bytes((await ask('send', text(transaction))).signature),
        })),
      },
    };
    const wallet = {
      version: '1.0.0',
      name: options.name,
      icon: 'data:image/svg+xml;base64,PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciLz4=',
      chains: ['solana:mainnet', 'solana:devnet', 'solana:localnet'],
      accounts: [],
      features: {
        'standard:connect': {
          version: '1.0.0',
          connect: async () => {
            wallet.accounts = (await ask('connect')).accounts.map(told);
            return { accounts: wallet.accounts };
          },
        },
        'standard:events': {
          version: '1.0.0',
          on: (_, listener) => {
            listeners.add(listener);
            return () => listeners.delete(listener);
          },
        },
        'solana:signMessage': {
          version: '1.1.0',
          signMessage: each(async ({ message }) => ({
            signedMessage: message,
            signature: bytes((await ask('message', text(message))).signature),
          })),
        },
        ...(options.sends ? sending : signing),
      },
    };
    window.switchAccounts = (accounts) => {
      wallet.accounts = accounts.map(told);
      for (const listener of listeners) listener({ accounts: wallet.accounts });
    };
    const announce = (app) => app.register(wallet);
    window.addEventListener('wallet-standard:app-ready', ({ detail }) => announce(detail));
    window.dispatchEvent(
      Object.assign(new Event('wallet-standard:register-wallet'), { detail: announce }),
    );
  };
  register(OPTIONS);
})();
