// JavaScript peers connect to each other through a network that has none of their own kind in it.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';

import Hyperswarm from 'hyperswarm';

import { text } from '../lib/addresses.js';
import { INTERNAL } from '../lib/packets.js';
import { createNode } from '../lib/reference.js';
import { subject } from '../lib/sides.js';
import { network as networkOf, wire } from '../lib/stage.js';

const bounded = { timeout: 60_000 };

function echo(connection) {
  connection.on('error', () => {}); // the other side may go first; its own test says what matters
  connection.pipe(connection);
}

/** Everything that comes back for what was sent. */
async function echoed(connection, sent) {
  const received = [];
  let missing = sent.length;
  connection.on('data', (chunk) => {
    received.push(chunk);
    missing -= chunk.length;
    if (missing <= 0) connection.end();
  });
  connection.write(sent);
  await once(connection, 'close');
  return Buffer.concat(received);
}

describe(`JavaScript peers on a ${subject.name} network`, { timeout: 180_000 }, () => {
  let network;
  before(async () => {
    network = await subject.startNetwork({ size: 12 });
  });
  after(() => network?.close());

  // Without the quick test a peer counts as behind a firewall, and so needs relays.
  async function peers(t, count) {
    const { bootstrap } = network;
    const nodes = Array.from({ length: count }, () => createNode({ ephemeral: true, quickFirewall: false, bootstrap }));
    t.after(() => Promise.all(nodes.map((node) => node.destroy())));
    await Promise.all(nodes.map((node) => node.fullyBootstrapped()));
    return nodes;
  }

  /** The server's relays are nodes of the network, so no handshake reaches it but through them. */
  function assertRelayed(server) {
    const known = [...network.nodes, ...network.bootstrap];
    assert.ok(server.relayAddresses.length > 0);
    for (const relay of server.relayAddresses) assert.ok(known.includes(text(relay)), text(relay));
  }

  test('a client reaches a server on the same host', bounded, async (t) => {
    const [a, b] = await peers(t, 2);
    const server = a.createServer(echo);
    await server.listen();
    assertRelayed(server);
    const sent = randomBytes(100_000);
    const connection = b.connect(server.publicKey);
    assert.deepEqual(await echoed(connection, sent), sent);
    assert.deepEqual(connection.remotePublicKey, server.publicKey);
  });

  test('a client reaches a server by hole punching alone', bounded, async (t) => {
    // Without local addresses only punching is left.
    const [a, b] = await peers(t, 2);
    const server = a.createServer({ shareLocalAddress: false }, echo);
    await server.listen();
    assertRelayed(server);
    const sent = randomBytes(100_000);
    const connection = b.connect(server.publicKey, { localConnection: false, fastOpen: false });
    assert.deepEqual(await echoed(connection, sent), sent);
    assert.equal(a.stats.punches.consistent, 1, 'the server punched');
    assert.equal(b.stats.punches.consistent, 1, 'the client punched');
  });

  test('ten clients at once', bounded, async (t) => {
    const [a, ...clients] = await peers(t, 11);
    const server = a.createServer(echo);
    await server.listen();
    const sent = randomBytes(1_000);
    const answers = await Promise.all(clients.map((client) => echoed(client.connect(server.publicKey), sent)));
    for (const answer of answers) assert.deepEqual(answer, sent);
  });

  test('a server that went away is not found any more', bounded, async (t) => {
    const [a, b] = await peers(t, 2);
    const server = a.createServer(echo);
    await server.listen();
    const { publicKey } = server;
    await server.close();
    const [error] = await once(b.connect(publicKey), 'error');
    assert.equal(error.code, 'PEER_NOT_FOUND');
  });

  test('two Hyperswarms meet on a topic', bounded, async (t) => {
    const nodes = await peers(t, 2);
    const [server, client] = nodes.map((dht) => new Hyperswarm({ dht }));
    t.after(() => Promise.all([server.destroy(), client.destroy()]));
    server.on('connection', echo);
    const topic = randomBytes(32);
    await server.join(topic, { server: true, client: false }).flushed();
    const met = once(client, 'connection');
    client.join(topic, { server: false, client: true });
    const [connection, peer] = await met;
    assert.deepEqual(peer.publicKey, server.keyPair.publicKey);
    assert.deepEqual(peer.topics, [topic]);
    const sent = randomBytes(1_000);
    assert.deepEqual(await echoed(connection, sent), sent);
  });
});

test(`a ${subject.name} network finds a node open that is, and then lists it`, bounded, async (t) => {
  const { bootstrap } = await networkOf(t, 6);
  const node = createNode({ ephemeral: false, bootstrap });
  t.after(() => node.destroy());
  await node.fullyBootstrapped();
  assert.ok(!node.firewalled, 'ping-nat answers reached the server socket');
  assert.ok(!node.ephemeral);
  const client = await wire(t);
  const found = { internal: true, command: INTERNAL.FIND_NODE, target: node.id };
  const { closer } = await client.request(bootstrap[0], found);
  assert.ok(closer.includes(text(node.address())));
});
