// mppx's side of a comparison, as a process: Node's own HTTP server behind mppx's session gate.
//
//   node tools/bench/mppx/serving.mjs voucher --folder FOLDER --sessions N
//
// mppx pays on Tempo, an EVM chain, and has no Solana method: its session is the nearest to a session of vouchers. Each
// request brings a cumulative voucher, signed with secp256k1, and its state is kept in `Store.memory()`. Channels are put
// into that store as it keeps them after an open, and a chain that knows their deposits answers for them, since opening
// is not what is measured. Then it writes FOLDER/signed, the requests, and serves; FOLDER/port says where.

import { createHash, randomBytes } from 'node:crypto'
import { createWriteStream, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { parseArgs } from 'node:util'

import { Challenge, Credential } from 'mppx'
import { Mppx, Store, tempo } from 'mppx/server'
import { Session } from 'mppx/tempo'
import { createClient, custom, encodeFunctionResult } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { tempo as chain } from 'viem/chains'

const { Channel, Constants, Voucher, escrowAbi } = Session.Precompile
const PATH = '/paid/answer'
const DEPOSIT = 10n ** 12n
const PRICE = 1n
const REQUESTS = 2_400 // more than it can answer while it is warmed up and measured
const ZERO = `0x${'0'.repeat(40)}`
const TOKEN = '0x20c0000000000000000000000000000000000000'

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { folder: { type: 'string' }, sessions: { type: 'string' } },
})
if (positionals[0] !== 'voucher') throw new Error('mppx has no session whose amounts the operator authorizes')

const digest = (text) => `0x${createHash('sha256').update(text).digest('hex')}`
const payer = privateKeyToAccount(`0x${randomBytes(32).toString('hex')}`)
const provider = privateKeyToAccount(`0x${randomBytes(32).toString('hex')}`)
const state = { settled: 0n, deposit: DEPOSIT, closeRequestedAt: 0 }
const client = createClient({
  chain,
  transport: custom({
    async request({ method }) {
      if (method === 'eth_chainId') return `0x${chain.id.toString(16)}`
      if (method !== 'eth_call') throw new Error(`the chain is not asked for ${method} while requests are served`)
      return encodeFunctionResult({ abi: escrowAbi, functionName: 'getChannelState', result: state })
    },
  }),
})
const store = Store.memory()
const gate = Mppx.create({
  methods: [
    tempo.session({
      store,
      getClient: () => client,
      account: provider,
      recipient: provider.address,
      currency: TOKEN,
      decimals: 0,
      // The chain is asked once for each channel, and not again while it is measured.
      channelStateTtl: 3_600_000,
    }),
  ],
  realm: 'shop.test',
  secretKey: '0123456789abcdef0123456789abcdef-for-tests-only',
})
const paid = Mppx.toNodeListener(gate.session({ amount: String(PRICE), unitType: 'request' }))

const server = createServer(async (request, response) => {
  if (request.url !== PATH) return void response.writeHead(404).end()
  const result = await paid(request, response)
  if (result.status === 402) return
  response.setHeader('content-type', 'application/json')
  response.end('{"answer":42}')
})
await new Promise((listening) => server.listen(0, '127.0.0.1', 2048, listening))
const { port } = server.address()

const asked = await fetch(`http://127.0.0.1:${port}${PATH}`)
const challenge = Challenge.fromResponse(asked)
const channels = []
for (let index = 0; index < Number(values.sessions); index += 1) {
  const descriptor = {
    payer: payer.address,
    payee: provider.address,
    operator: ZERO,
    token: TOKEN,
    salt: digest(`salt ${index}`),
    authorizedSigner: payer.address,
    expiringNonceHash: digest(`nonce ${index}`),
  }
  const escrow = Constants.tip20ChannelEscrow
  const channelId = Channel.computeId({ ...descriptor, escrow, chainId: chain.id }).toLowerCase()
  await store.put(channelId, {
    ...descriptor,
    backend: 'precompile',
    chainId: chain.id,
    channelId,
    descriptor,
    escrowContract: escrow,
    closeRequestedAt: 0n,
    deposit: DEPOSIT,
    settledOnChain: 0n,
    highestVoucherAmount: 0n,
    highestVoucher: null,
    spent: 0n,
    units: 0,
    finalized: false,
    createdAt: new Date().toISOString(),
  })
  channels.push({ channelId, descriptor, escrow })
}

const source = `did:pkh:eip155:${chain.id}:${payer.address}`
async function paying({ channelId, descriptor, escrow }, cumulativeAmount) {
  const signature = await Voucher.signVoucher(client, payer, { channelId, cumulativeAmount }, escrow, chain.id)
  const payload = { action: 'voucher', channelId, descriptor, cumulativeAmount: String(cumulativeAmount), signature }
  return Credential.serialize({ challenge, payload, source })
}

// After its first voucher the chain has been asked for a channel.
for (const channel of channels) {
  const headers = { authorization: await paying(channel, PRICE) }
  const answer = await fetch(`http://127.0.0.1:${port}${PATH}`, { headers })
  if (!answer.ok) throw new Error(`a first voucher was refused: ${await answer.text()}`)
  await answer.arrayBuffer()
}
const lines = createWriteStream(`${values.folder}/signed`)
for (let number = 0; number < REQUESTS; number += 1) {
  const round = 2 + Math.floor(number / channels.length)
  lines.write(`${await paying(channels[number % channels.length], PRICE * BigInt(round))} request-${number}\n`)
}
await new Promise((written) => lines.end(written))
writeFileSync(`${values.folder}/port`, String(port))
