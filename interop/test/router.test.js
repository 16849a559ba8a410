// Forwarding between two peers that only know a node (S4, S13): every hop of a handshake and of a hole punch.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';

import { id, text } from '../lib/addresses.js';
import { COMMAND, ERROR } from '../lib/packets.js';
import { subject } from '../lib/sides.js';
import { announcement, handshake, hash, holepunch, keyPair } from '../lib/signed.js';
import { network, oneNode, wire } from '../lib/stage.js';

const MODE = { FROM_CLIENT: 0, FROM_SERVER: 1, FROM_RELAY: 2, FROM_SECOND_RELAY: 3, REPLY: 4 };
const bounded = { timeout: 30_000 };

const isRequest = (command) => (packet) => packet.kind === 'request' && !packet.internal && packet.command === command;

/** Announces a key of its own from this socket, which so becomes the way to the key. */
async function announceSelf(server, node) {
  const keys = keyPair();
  const target = hash(keys.publicKey);
  const { token } = await server.request(node, { command: COMMAND.FIND_PEER, target });
  const value = announcement({ target, nodeId: id(node), token, keys });
  await server.request(node, { command: COMMAND.ANNOUNCE, target, token, value });
  return target;
}

/** What each kind of envelope looks like on the way there and back. */
const kinds = [
  { name: 'handshake', command: COMMAND.PEER_HANDSHAKE, codec: handshake, body: (bytes) => ({ noise: bytes }) },
  { name: 'hole punch', command: COMMAND.PEER_HOLEPUNCH, codec: holepunch, body: (bytes) => ({ id: 3, payload: bytes }) },
];

describe('router', { concurrency: 4 }, () => {
  for (const { name, command, codec, body } of kinds) {
    const content = (envelope) => Buffer.from(envelope.noise ?? envelope.payload);

    test(`S4: a ${name} goes to the announcer and back to the client`, bounded, async (t) => {
      const { node, client } = await oneNode(t);
      const server = await wire(t);
      const target = await announceSelf(server, node);

      const [there, back] = [randomBytes(109), randomBytes(118)];
      const tid = client.post(node, { command, target, value: codec.encode({ mode: MODE.FROM_CLIENT, ...body(there) }) });
      const relayed = await server.next(isRequest(command));
      assert.equal(relayed.from, node);
      assert.equal(relayed.tid, tid);
      assert.equal(relayed.to, server.address);
      assert.equal(relayed.token, null);
      assert.deepEqual(relayed.target, target);
      const forwarded = codec.decode(relayed.value);
      assert.equal(forwarded.mode, MODE.FROM_RELAY);
      assert.deepEqual(content(forwarded), there);
      assert.equal(text(forwarded.peerAddress), client.address);

      const { peerAddress } = forwarded;
      const value = codec.encode({ mode: MODE.FROM_SERVER, ...body(back), peerAddress });
      server.post(node, { command, target, tid, value });
      const reply = await client.next((packet) => packet.kind === 'response' && packet.tid === tid);
      assert.equal(reply.from, node);
      assert.equal(reply.to, client.address);
      assert.deepEqual([reply.error, reply.token, reply.closer], [0, null, null]);
      const returned = codec.decode(reply.value);
      assert.equal(returned.mode, MODE.REPLY);
      assert.deepEqual(content(returned), back);
      assert.equal(text(returned.peerAddress), server.address);
    });
  }

  test('a handshake that came over a relay goes on as from a second one', bounded, async (t) => {
    const { node, client: relay } = await oneNode(t);
    const server = await wire(t);
    const target = await announceSelf(server, node);
    const noise = randomBytes(109);
    const peerAddress = { host: '127.0.0.1', port: 4_000 };
    relay.post(node, { command: COMMAND.PEER_HANDSHAKE, target, value: handshake.encode({ mode: MODE.FROM_RELAY, noise, peerAddress }) });
    const forwarded = handshake.decode((await server.next(isRequest(COMMAND.PEER_HANDSHAKE))).value);
    assert.equal(forwarded.mode, MODE.FROM_SECOND_RELAY);
    assert.deepEqual(forwarded.peerAddress, peerAddress);
    assert.equal(text(forwarded.relayAddress), relay.address);
  });

  test('a handshake for a key that nobody announced is answered with closer nodes', bounded, async (t) => {
    const { node, client } = await oneNode(t);
    const value = handshake.encode({ mode: MODE.FROM_CLIENT, noise: randomBytes(109) });
    const reply = await client.request(node, { command: COMMAND.PEER_HANDSHAKE, target: randomBytes(32), value });
    assert.deepEqual([reply.error, reply.value, reply.token], [0, null, null]);
    assert.ok(reply.closer.length > 0);
  });

  test('an announcement of a hash under another key does not take the handshakes', bounded, async (t) => {
    const { node, client } = await oneNode(t);
    const [victim, thief] = [await wire(t), await wire(t)];
    const target = await announceSelf(victim, node);
    const { token } = await thief.request(node, { command: COMMAND.FIND_PEER, target });
    const value = announcement({ target, nodeId: id(node), token, keys: keyPair() });
    await thief.request(node, { command: COMMAND.ANNOUNCE, target, token, value });

    const noise = randomBytes(109);
    client.post(node, { command: COMMAND.PEER_HANDSHAKE, target, value: handshake.encode({ mode: MODE.FROM_CLIENT, noise }) });
    await victim.next(isRequest(COMMAND.PEER_HANDSHAKE));
    await client.fence(node);
    assert.deepEqual(thief.kept.filter(isRequest(COMMAND.PEER_HANDSHAKE)), []);
  });

  test('S13: an ephemeral node stores nothing, yet forwards', bounded, async (t) => {
    const { bootstrap } = await network(t, 4);
    const { server: node, close } = await subject.startEphemeralNode({ bootstrap });
    t.after(close);
    const [client, server] = [await wire(t), await wire(t)];
    const target = randomBytes(32);
    const storing = [COMMAND.FIND_PEER, COMMAND.LOOKUP, COMMAND.ANNOUNCE, COMMAND.UNANNOUNCE, COMMAND.MUTABLE_PUT];
    for (const command of [...storing, COMMAND.MUTABLE_GET, COMMAND.IMMUTABLE_PUT, COMMAND.IMMUTABLE_GET]) {
      const reply = await client.request(node, { command, target, value: randomBytes(10) });
      assert.equal(reply.error, ERROR.UNKNOWN_COMMAND, `command ${command}`);
      assert.deepEqual([reply.id, reply.token, reply.value], [null, null, null]);
      assert.ok(reply.closer.length > 0);
    }
    const [host, port] = server.address.split(':');
    const relayAddress = { host, port: Number(port) };
    const noise = randomBytes(109);
    client.post(node, {
      command: COMMAND.PEER_HANDSHAKE,
      target,
      value: handshake.encode({ mode: MODE.FROM_CLIENT, noise, relayAddress }),
    });
    const relayed = await server.next(isRequest(COMMAND.PEER_HANDSHAKE));
    assert.equal(relayed.id, null);
    const forwarded = handshake.decode(relayed.value);
    assert.equal(forwarded.mode, MODE.FROM_RELAY);
    assert.equal(text(forwarded.peerAddress), client.address);
  });
});
