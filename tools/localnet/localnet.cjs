#!/usr/bin/env node
// Surfpool, offline, with one program deployed. Prints one JSON line {rpc, ws, programId} when it is ready and runs
// until SIGTERM, SIGINT, the end of its parent, or (--with-stdin) the end of its input; so it never outlives its user.
'use strict';
const fs = require('node:fs');
const net = require('node:net');
const { parseArgs } = require('node:util');

const USAGE = `usage: node localnet.cjs --program ID --so FILE [--slot-ms N] [--port N] [--with-stdin]
  --program ID   address to deploy at
  --so FILE      the program
  --slot-ms N    milliseconds per slot (400)
  --port N       serve RPC at 127.0.0.1:N and its websocket at N+1 (else free ports)
  --with-stdin   stop when standard input ends`;

function fail(message) {
  console.error(message);
  process.exit(2);
}

function parse() {
  const flag = { type: 'string' };
  const options = {
    program: flag,
    so: flag,
    'slot-ms': { ...flag, default: '400' },
    port: { ...flag, default: '0' },
    'with-stdin': { type: 'boolean', default: false },
  };
  try {
    const { values } = parseArgs({ options });
    const [slotMs, port] = [Number(values['slot-ms']), Number(values.port)];
    if (!values.program || !values.so) throw new Error('--program and --so are needed');
    if (!fs.existsSync(values.so)) throw new Error(`no program at ${values.so}; build it with scripts/build-program`);
    if (!Number.isInteger(slotMs) || slotMs < 1) throw new Error('--slot-ms is a whole number of milliseconds from 1');
    if (!Number.isInteger(port) || port < 0 || port > 65534) throw new Error('--port is a number from 0 to 65534');
    return { program: values.program, so: values.so, slotMs, port, withStdin: values['with-stdin'] };
  } catch (error) {
    return fail(`${error.message}\n${USAGE}`);
  }
}

// Surfpool's Node package chooses its own ports, so a wanted one is forwarded to it.
function forward(port, url) {
  const target = new URL(url);
  const server = net.createServer((from) => {
    const to = net.connect(Number(target.port), target.hostname);
    from.on('error', () => to.destroy());
    to.on('error', () => from.destroy());
    from.pipe(to).pipe(from);
  });
  return new Promise((resolve) => {
    server.on('error', (error) => fail(`port ${port} cannot be used: ${error.message}`));
    server.listen(port, '127.0.0.1', () => resolve(`${target.protocol}//127.0.0.1:${port}`));
  });
}

async function main() {
  const options = parse();
  const { Surfnet } = require('@solana/surfpool-linux-x64-gnu');
  const surfnet = Surfnet.startWithConfig({
    offline: true,
    slotTimeMs: options.slotMs,
    blockProductionMode: 'clock',
  });
  const stop = () => {
    surfnet.stop();
    process.exit(0);
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  // Surfpool stops answering once about a thousand of its events are unread: after seven minutes at 400 ms per slot.
  setInterval(() => surfnet.drainEvents(), 200);
  const parent = process.ppid;
  setInterval(() => process.ppid === parent || stop(), 500);
  if (options.withStdin) process.stdin.on('end', stop).on('error', stop).resume();

  surfnet.deploy({ programId: options.program, soPath: options.so });
  const rpc = options.port ? await forward(options.port, surfnet.rpcUrl) : surfnet.rpcUrl;
  const ws = options.port ? await forward(options.port + 1, surfnet.wsUrl) : surfnet.wsUrl;
  console.log(JSON.stringify({ rpc, ws, programId: options.program }));
}

main().catch((error) => fail(`the local validator did not start: ${error.message}`));
