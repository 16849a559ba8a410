// The JavaScript reference behind the interface that both sides of a test share (see sides.js).

import { once } from 'node:events';

import HyperDHT from 'hyperdht';
import { parse, text } from './addresses.js';

export const name = 'JavaScript';

// A bare port number would make HyperDHT try its default port first; an empty range asks the system for any.
const ANY_PORT = [0, 0];

export function createNode(options) {
  return new HyperDHT({ host: '127.0.0.1', port: ANY_PORT, ...options });
}

/** A private network, or `size` more nodes of the one that `bootstrap` names. */
export async function startNetwork({ size, bootstrap = [] }) {
  const nodes = [];
  const close = async () => {
    for (const node of nodes.toReversed()) await node.destroy();
  };
  while (nodes.length < size) {
    const node = createNode({ ephemeral: false, firewalled: false, bootstrap });
    nodes.push(node);
    await node.fullyBootstrapped();
    if (bootstrap.length === 0) bootstrap = [text(node.address())];
  }
  const addresses = nodes.map((node) => text(node.address()));
  return { bootstrap, nodes: addresses.filter((address) => !bootstrap.includes(address)), close };
}

/** A node that others may ask but never list. */
export async function startEphemeralNode({ bootstrap }) {
  const node = createNode({ ephemeral: true, bootstrap });
  await node.fullyBootstrapped();
  return {
    server: text({ host: '127.0.0.1', port: node.io.serverSocket.address().port }),
    close: () => node.destroy(),
  };
}

/** A node that wants to be listed, and has to find out whether it can be. */
export async function startPersistentNode({ bootstrap }) {
  const node = createNode({ ephemeral: false, bootstrap });
  await once(node, 'listening');
  const { port } = node.io.serverSocket.address();
  return { server: `127.0.0.1:${port}`, ready: () => node.fullyBootstrapped(), close: () => node.destroy() };
}

/** Joins a network without waiting for the end of it. */
export function startJoining({ bootstrap }) {
  const node = createNode({ ephemeral: true, bootstrap });
  return { close: () => node.destroy() };
}

async function asClient(bootstrap, operation) {
  const node = createNode({ ephemeral: true, bootstrap });
  try {
    await node.fullyBootstrapped();
    return await operation(node);
  } finally {
    await node.destroy();
  }
}

/** Announces a key on a topic, and the key itself, until `leave`. */
export async function announce({ bootstrap, topic, seed }) {
  const node = createNode({ ephemeral: true, bootstrap });
  const keyPair = HyperDHT.keyPair(Buffer.from(seed, 'hex'));
  const server = node.createServer();
  await server.listen(keyPair);
  const target = Buffer.from(topic, 'hex');
  await node.announce(target, keyPair, server.relayAddresses).finished();
  return {
    publicKey: keyPair.publicKey.toString('hex'),
    leave: async () => {
      await node.unannounce(target, keyPair);
      await node.destroy();
    },
    close: () => node.destroy({ force: true }),
  };
}

async function found(replies) {
  const peers = new Map();
  for await (const reply of replies) {
    for (const peer of reply.peers ?? [reply.peer]) {
      peers.set(peer.publicKey.toString('hex'), peer.relayAddresses.map(text));
    }
  }
  return peers;
}

/** Public key to relay addresses. */
export async function lookup({ bootstrap, topic }) {
  return asClient(bootstrap, (node) => found(node.lookup(Buffer.from(topic, 'hex'))));
}

export async function findPeer({ bootstrap, publicKey }) {
  return asClient(bootstrap, (node) => found(node.findPeer(Buffer.from(publicKey, 'hex'))));
}

export async function putImmutable({ bootstrap, value }) {
  return asClient(bootstrap, async (node) => {
    const { hash } = await node.immutablePut(Buffer.from(value));
    return hash.toString('hex');
  });
}

export async function getImmutable({ bootstrap, target }) {
  return asClient(bootstrap, async (node) => {
    const reply = await node.immutableGet(Buffer.from(target, 'hex'));
    return reply && reply.value.toString();
  });
}

/** How many nodes stored it, and the errors of those that refused. */
export async function putMutable({ bootstrap, seed, seq, value }) {
  return asClient(bootstrap, async (node) => {
    const errors = [];
    const request = node.request.bind(node);
    // The reference drops what the storing nodes answered: listen in.
    node.request = async (...args) => {
      const reply = await request(...args);
      errors.push(reply.error);
      return reply;
    };
    const keyPair = HyperDHT.keyPair(Buffer.from(seed, 'hex'));
    await node.mutablePut(keyPair, Buffer.from(value), { seq });
    return { stored: errors.filter((error) => error === 0).length, refusals: refusals(errors) };
  });
}

const REFUSALS = new Map([
  [16, 'seq-reused'],
  [17, 'seq-too-low'],
]);

function refusals(errors) {
  return [...new Set(errors.filter((error) => error !== 0).map((error) => REFUSALS.get(error) ?? error))];
}

export async function getMutable({ bootstrap, publicKey, seq = 0 }) {
  return asClient(bootstrap, async (node) => {
    const record = await node.mutableGet(Buffer.from(publicKey, 'hex'), { seq });
    return record && { seq: record.seq, value: record.value.toString() };
  });
}
