// Connections through blind relays, of the reference and of Homing, where no direct path is allowed, and
// those that find one later.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';

import HyperDHT from 'hyperdht';
import Holepuncher from 'hyperdht/lib/holepuncher.js';

import { all, dial, digest, echoed, listen, serve } from '../lib/links.js';
import { javaScriptRelay, rustRelay } from '../lib/relays.js';
import { createNode } from '../lib/reference.js';
import { againstItself, subject } from '../lib/sides.js';

const bounded = { timeout: 60_000 };

function echo(connection) {
  connection.on('error', () => {}); // whoever dialled says what matters
  connection.pipe(connection);
}

describe('connections through relays', { skip: againstItself, timeout: 300_000 }, () => {
  let network;
  before(async () => {
    network = await subject.startNetwork({ size: 12 });
  });
  after(() => network?.close());

  async function node(t) {
    const created = createNode({ ephemeral: true, quickFirewall: false, bootstrap: network.bootstrap });
    t.after(() => created.destroy({ force: true }));
    await created.fullyBootstrapped();
    return created;
  }

  /** A client that neither punches nor uses addresses of its own network. */
  const noPath = { localConnection: false, fastOpen: false, holepunch: () => false };

  for (const [kind, startRelay] of [['JavaScript', javaScriptRelay], ['Rust', rustRelay]]) {
    test(`JavaScript reaches Rust by a ${kind} relay that it proposes`, bounded, async (t) => {
      const relay = await startRelay(t, network);
      const listener = await listen(t, network.bootstrap, ['--echo', '--firewalled', '--no-lan']);
      const client = await node(t);
      const sent = randomBytes(100_000);
      const connection = client.connect(listener.key, { relayThrough: relay.key, ...noPath });
      assert.deepEqual(await echoed(connection, sent), sent);
      const seen = await listener.event('connection');
      assert.equal(seen.path, 'relayed');
      assert.equal(seen.relay, relay.key.toString('hex'));
      await listener.event('closed');
    });

    test(`JavaScript reaches Rust by a ${kind} relay that the server proposes`, bounded, async (t) => {
      const relay = await startRelay(t, network);
      const args = ['--echo', '--firewalled', '--only', 'relay', '--relay', relay.key.toString('hex')];
      const listener = await listen(t, network.bootstrap, args);
      const client = await node(t);
      const sent = randomBytes(100_000);
      assert.deepEqual(await echoed(client.connect(listener.key), sent), sent);
      assert.equal((await listener.event('connection')).relay, relay.key.toString('hex'));
    });

    test(`Rust reaches JavaScript by a ${kind} relay that it proposes`, bounded, async (t) => {
      const relay = await startRelay(t, network);
      const host = await node(t);
      const server = await serve(host, { shareLocalAddress: false, holepunch: false }, echo);
      const args = ['--firewalled', '--only', 'relay', '--relay', relay.key.toString('hex')];
      const dialler = dial(t, network.bootstrap, server.publicKey, args);
      const sent = randomBytes(100_000);
      const back = all(dialler.output);
      dialler.input.end(sent);
      const seen = await dialler.event('connection');
      assert.deepEqual([seen.path, seen.relay], ['relayed', relay.key.toString('hex')]);
      assert.deepEqual(await back, sent);
      assert.equal(await dialler.ended(), 0);
      assert.deepEqual(host.stats.relaying, { attempts: 1, successes: 1, aborts: 0 });
    });

    test(`Rust reaches JavaScript by a ${kind} relay that the server proposes`, bounded, async (t) => {
      const relay = await startRelay(t, network);
      const host = await node(t);
      const options = { shareLocalAddress: false, holepunch: false, relayThrough: relay.key };
      const server = await serve(host, options, echo);
      const dialler = dial(t, network.bootstrap, server.publicKey, ['--firewalled', '--only', 'relay']);
      const sent = randomBytes(100_000);
      const back = all(dialler.output);
      dialler.input.end(sent);
      assert.equal((await dialler.event('connection')).relay, relay.key.toString('hex'));
      assert.deepEqual(await back, sent);
      assert.equal(await dialler.ended(), 0);
    });

    test(`Rust reaches Rust by a ${kind} relay`, bounded, async (t) => {
      const relay = await startRelay(t, network);
      const listener = await listen(t, network.bootstrap, ['--echo', '--firewalled', '--only', 'relay']);
      const args = ['--firewalled', '--relay', relay.key.toString('hex')];
      const dialler = dial(t, network.bootstrap, listener.key, args);
      const sent = randomBytes(1 << 20);
      const back = all(dialler.output);
      dialler.input.end(sent);
      assert.equal((await dialler.event('connection')).path, 'relayed');
      assert.deepEqual(await back, sent);
      assert.equal(await dialler.ended(), 0);
    });
  }

  test('a Rust relay tells of its clients and of what passed', bounded, async (t) => {
    const relay = await rustRelay(t, network);
    const listener = await listen(t, network.bootstrap, ['--sink', '--firewalled', '--only', 'relay']);
    const args = ['--firewalled', '--relay', relay.key.toString('hex')];
    const dialler = dial(t, network.bootstrap, listener.key, args);
    dialler.output.resume();
    dialler.input.end(randomBytes(200_000));
    assert.equal(await dialler.ended(), 0);
    await relay.process.event('joined');
    const { bytes, why } = await relay.process.event('separated');
    assert.equal(why, 'left');
    assert.ok(bytes > 200_000 && bytes < 300_000, `${bytes} bytes passed`);
  });

  test('a pair that has had its bytes is separated', bounded, async (t) => {
    const relay = await rustRelay(t, network, ['--mib-of-pair', '1']);
    const listener = await listen(t, network.bootstrap, ['--sink', '--firewalled', '--only', 'relay']);
    const args = ['--firewalled', '--relay', relay.key.toString('hex')];
    const dialler = dial(t, network.bootstrap, listener.key, args);
    dialler.output.resume();
    dialler.input.write(randomBytes(8 << 20));
    assert.equal((await relay.process.event('separated')).why, 'exhausted');
  });

  /** Holds a method of an object back until the gate is opened. */
  function gate(object, method) {
    const original = object[method];
    let open;
    const opened = new Promise((resolve) => (open = resolve));
    object[method] = async function (...args) {
      await opened;
      return original.apply(this, args);
    };
    return open;
  }

  /** Has servers of the reference answer no probes until the gate is opened. */
  function muteProbes(t) {
    const original = Holepuncher.prototype._onholepunchmessage;
    let isMute = true;
    Holepuncher.prototype._onholepunchmessage = function (...args) {
      if (!isMute || this.isInitiator) original.apply(this, args);
    };
    t.after(() => (Holepuncher.prototype._onholepunchmessage = original));
    return () => (isMute = false);
  }

  /** Writes chunks until `done`, and some more; tells what was written. */
  async function pourUntil(stream, done) {
    const hash = createHash('sha256');
    const chunk = randomBytes(16 << 10);
    let bytes = 0;
    let more = 64;
    let isDone = false;
    done.then(() => (isDone = true));
    while (!isDone || more-- > 0) {
      hash.update(chunk);
      bytes += chunk.length;
      if (!stream.write(chunk)) await once(stream, 'drain');
      await new Promise((resolve) => setImmediate(resolve));
    }
    stream.end();
    return { bytes, sha256: hash.digest('hex') };
  }

  for (const [kind, startRelay] of [['JavaScript', javaScriptRelay], ['Rust', rustRelay]]) {
    test(`a JavaScript client leaves a ${kind} relay for a direct path and loses nothing`, bounded, async (t) => {
      const relay = await startRelay(t, network);
      const listener = await listen(t, network.bootstrap, ['--sink', '--firewalled', '--no-lan']);
      const client = await node(t);
      const punch = gate(client._router, 'peerHolepunch');
      const options = { relayThrough: relay.key, localConnection: false, fastOpen: false };
      const connection = client.connect(listener.key, options);
      const answer = all(connection);
      await once(connection, 'open');
      assert.equal((await listener.event('connection')).path, 'relayed');
      punch();
      const poured = await pourUntil(connection, listener.event('rerouted'));
      const { bytes, sha256 } = JSON.parse(await answer);
      assert.deepEqual({ bytes, sha256 }, poured);
      assert.equal(listener.lines.find((line) => line.event === 'rerouted').path, 'punched');
    });

    test(`a Rust client leaves a ${kind} relay for a direct path and loses nothing`, bounded, async (t) => {
      const relay = await startRelay(t, network);
      const host = await node(t);
      let received;
      const server = host.createServer({ shareLocalAddress: false }, async (connection) => {
        connection.on('error', () => {});
        received = await digest(connection);
        connection.end();
      });
      const unmute = muteProbes(t);
      const punch = gate(server, '_onpeerholepunch');
      await server.listen(HyperDHT.keyPair());
      const args = ['--firewalled', '--no-lan', '--relay', relay.key.toString('hex')];
      const dialler = dial(t, network.bootstrap, server.publicKey, args);
      dialler.output.resume();
      assert.equal((await dialler.event('connection')).path, 'relayed');
      unmute();
      punch();
      const poured = await pourUntil(dialler.input, dialler.event('rerouted'));
      assert.equal(await dialler.ended(), 0);
      assert.deepEqual(received, poured);
    });
  }
});
