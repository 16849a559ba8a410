// Connections between the reference and Homing, one key to one key.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';

import { all, dial, digest, echoed, listen, pour, serve } from '../lib/links.js';
import { createNode } from '../lib/reference.js';
import { againstItself, subject } from '../lib/sides.js';

const bounded = { timeout: 60_000 };
const MIB = 1 << 20;

function echo(connection) {
  connection.on('error', () => {}); // whoever dialled says what matters
  connection.pipe(connection);
}

describe('connections of the reference and Homing', { skip: againstItself, timeout: 240_000 }, () => {
  let network;
  before(async () => {
    network = await subject.startNetwork({ size: 12 });
  });
  after(() => network?.close());

  /** A node of the reference; without the quick test it counts as firewalled. */
  async function node(t, options = { quickFirewall: false }) {
    const created = createNode({ ephemeral: true, bootstrap: network.bootstrap, ...options });
    t.after(() => created.destroy({ force: true }));
    await created.fullyBootstrapped();
    return created;
  }

  for (const [way, served, dialled, path] of [
    // To a server whose own address is a local one, such a peer is a direct one.
    ['by the local network', ['--firewalled'], {}, 'direct'],
    ['by punching', ['--firewalled', '--no-lan'], { localConnection: false, fastOpen: false }, 'punched'],
  ]) {
    test(`JavaScript reaches Rust ${way}`, bounded, async (t) => {
      const listener = await listen(t, network.bootstrap, ['--echo', ...served]);
      const client = await node(t);
      const sent = randomBytes(100_000);
      const connection = client.connect(listener.key, dialled);
      assert.deepEqual(await echoed(connection, sent), sent);
      assert.deepEqual(connection.remotePublicKey, listener.key);
      const seen = await listener.event('connection');
      assert.equal(seen.key, client.defaultKeyPair.publicKey.toString('hex'));
      assert.equal(seen.path, path);
      await listener.event('closed');
    });
  }

  for (const [way, served, dialled, path] of [
    ['by the local network', {}, ['--firewalled'], 'lan'],
    ['by punching', { shareLocalAddress: false }, ['--firewalled', '--no-lan'], 'punched'],
  ]) {
    test(`Rust reaches JavaScript ${way}`, bounded, async (t) => {
      const host = await node(t);
      const server = await serve(host, served, echo);
      const sent = randomBytes(100_000);
      const dialler = dial(t, network.bootstrap, server.publicKey, dialled);
      const back = all(dialler.output);
      dialler.input.end(sent);
      const seen = await dialler.event('connection');
      assert.equal(seen.path, path);
      assert.equal(seen.key, server.publicKey.toString('hex'));
      assert.deepEqual(await back, sent);
      assert.equal(await dialler.ended(), 0);
    });
  }

  for (const [what, args] of [
    ['believes itself firewalled', ['--firewalled']],
    ['is open', []],
  ]) {
    test(`24 of 24 JavaScript clients reach a Rust server that ${what}`, bounded, async (t) => {
      const listener = await listen(t, network.bootstrap, ['--echo', ...args]);
      const sent = randomBytes(1_000);
      const times = [];
      for (let i = 0; i < 24; i++) {
        const client = await node(t, i % 2 ? {} : { quickFirewall: false });
        const begun = performance.now();
        const connection = client.connect(listener.key);
        await once(connection, 'open');
        times.push(performance.now() - begun);
        assert.deepEqual(await echoed(connection, sent), sent);
        await client.destroy({ force: true });
      }
      // The reference needs some 30 ms on loopback; a second would be a lost message and its repetition.
      times.sort((a, b) => a - b);
      assert.ok(times.at(-1) < 1_000, `the slowest took ${times.at(-1)} ms`);
    });
  }

  test('a key that nobody serves is not found, from either side', bounded, async (t) => {
    const client = await node(t);
    const nobody = randomBytes(32);
    const [error] = await once(client.connect(nobody), 'error');
    assert.equal(error.code, 'PEER_NOT_FOUND');
    assert.equal(await dial(t, network.bootstrap, nobody).ended(), 1);
  });

  test('what JavaScript sends before it half-closes arrives whole, and the answer after that', bounded, async (t) => {
    const listener = await listen(t, network.bootstrap, ['--sink']);
    const client = await node(t);
    const connection = client.connect(listener.key);
    const answer = all(connection);
    connection.end('the end is near');
    const { bytes, sha256 } = JSON.parse(await answer);
    assert.equal(bytes, 15);
    // sha256sum of the text.
    assert.equal(sha256, '9af27004cd0f5e80921e22801fa35f4aa2f1a2a91e3f814189ba04bdee991c93');
  });

  test('what Rust sends before it half-closes arrives whole, and the answer after that', bounded, async (t) => {
    const host = await node(t);
    const server = await serve(host, {}, async (connection) => {
      connection.on('error', () => {});
      const { bytes } = await digest(connection);
      connection.end(`got ${bytes}`);
    });
    const dialler = dial(t, network.bootstrap, server.publicKey);
    const answer = all(dialler.output);
    dialler.input.end('the end is near');
    assert.equal(String(await answer), 'got 15');
    assert.equal(await dialler.ended(), 0);
  });

  test('100 MiB from JavaScript arrive as they were', { timeout: 120_000 }, async (t) => {
    const listener = await listen(t, network.bootstrap, ['--sink']);
    const client = await node(t);
    const connection = client.connect(listener.key);
    const answer = all(connection);
    const sent = await pour(connection, randomBytes(64 << 10), 1600);
    const { bytes, sha256 } = JSON.parse(await answer);
    assert.deepEqual({ bytes, sha256 }, sent);
    assert.equal(bytes, 100 * MIB);
  });

  test('100 MiB to JavaScript arrive as they were', { timeout: 120_000 }, async (t) => {
    const host = await node(t);
    let received;
    const server = await serve(host, {}, async (connection) => {
      connection.on('error', () => {});
      received = await digest(connection);
      connection.end();
    });
    const dialler = dial(t, network.bootstrap, server.publicKey);
    dialler.output.resume();
    const sent = await pour(dialler.input, randomBytes(64 << 10), 1600);
    assert.equal(await dialler.ended(), 0);
    assert.deepEqual(received, sent);
  });
});
