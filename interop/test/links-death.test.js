// A peer that dies without a word is noticed, by either side, when the reference would notice it.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { dial, listen, serve } from '../lib/links.js';
import { createNode } from '../lib/reference.js';
import { againstItself, subject } from '../lib/sides.js';

const bounded = { timeout: 60_000 };

// The reference sends a keep-alive every 5 s and closes after some seven repetitions: 13 to 18 s.
const NOTICED_MS = { least: 5_000, most: 20_000 };

describe('peers that are killed', { skip: againstItself, concurrency: true, timeout: 120_000 }, () => {
  let bootstrap;
  let network;
  before(async () => {
    network = await subject.startNetwork({ size: 8 });
    ({ bootstrap } = network);
  });
  after(() => network?.close());

  async function node(t) {
    const created = createNode({ ephemeral: true, quickFirewall: false, bootstrap });
    t.after(() => created.destroy({ force: true }));
    await created.fullyBootstrapped();
    return created;
  }

  /** A peer of the reference that can be killed, and its lines. */
  function mortal(t, args) {
    const script = fileURLToPath(new URL('../lib/mortal.cjs', import.meta.url));
    const child = spawn('node', [script, ...args, ...bootstrap]);
    t.after(() => child.kill('SIGKILL'));
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const next = async () => JSON.parse((await lines.next()).value);
    return { next, kill: () => child.kill('SIGKILL') };
  }

  async function assertNoticed(noticed) {
    const begun = performance.now();
    await noticed;
    const took = performance.now() - begun;
    assert.ok(took >= NOTICED_MS.least && took <= NOTICED_MS.most, `noticed after ${took} ms`);
  }

  test('Rust notices that the JavaScript client is gone', bounded, async (t) => {
    const listener = await listen(t, bootstrap, ['--echo']);
    const client = mortal(t, ['dial', listener.key.toString('hex')]);
    await client.next();
    await listener.event('connection');
    client.kill();
    await assertNoticed(listener.event('closed'));
  });

  test('Rust notices that the JavaScript server is gone', bounded, async (t) => {
    const server = mortal(t, ['serve']);
    const { key } = await server.next();
    const dialler = dial(t, bootstrap, Buffer.from(key, 'hex'));
    await dialler.event('connection');
    await server.next();
    server.kill();
    await assertNoticed(dialler.ended());
  });

  test('JavaScript notices that the Rust server is gone', bounded, async (t) => {
    const listener = await listen(t, bootstrap, ['--echo']);
    const client = await node(t);
    const connection = client.connect(listener.key);
    await once(connection, 'open');
    await listener.event('connection');
    listener.abandon();
    const [error] = await once(connection, 'error');
    assert.equal(error.code, 'ETIMEDOUT');
  });

  test('JavaScript notices that the Rust client is gone', bounded, async (t) => {
    const host = await node(t);
    const failed = Promise.withResolvers?.() ?? deferred();
    const server = await serve(host, {}, (connection) => connection.on('error', failed.resolve));
    const dialler = dial(t, bootstrap, server.publicKey);
    await dialler.event('connection');
    dialler.abandon();
    assert.equal((await failed.promise).code, 'ETIMEDOUT');
  });
});

function deferred() {
  const made = {};
  made.promise = new Promise((resolve) => (made.resolve = resolve));
  return made;
}
