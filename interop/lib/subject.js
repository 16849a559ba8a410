// Homing behind the interface that both sides of a test share (see sides.js).

import { Homing, run } from './homing.js';

export const name = 'Rust';

/** A private network, or `size` more nodes of the one that `bootstrap` names. */
export async function startNetwork({ size, bootstrap = [] }) {
  const network = new Homing(['testnet', String(size), '--until-stdin-closes'], { bootstrap });
  const ready = await network.event('ready');
  const seeds = bootstrap.length > 0 ? bootstrap : ready.bootstrap;
  return {
    bootstrap: seeds,
    nodes: ready.nodes.filter((address) => !seeds.includes(address)),
    close: () => network.close(),
  };
}

function startNode(standing, bootstrap) {
  const args = ['node', standing, '--host', '127.0.0.1', '--port', '0', '--until-stdin-closes'];
  return new Homing(args, { bootstrap });
}

/** A node that others may ask but never list. */
export async function startEphemeralNode({ bootstrap }) {
  const node = startNode('--ephemeral', bootstrap);
  const { server } = await node.event('listening');
  await node.event('ready');
  return { server, close: () => node.close() };
}

/** A node that wants to be listed, and has to find out whether it can be. */
export async function startPersistentNode({ bootstrap }) {
  const node = startNode('--persistent', bootstrap);
  const { server } = await node.event('listening');
  return { server, ready: () => node.event('ready'), close: () => node.close() };
}

/** Joins a network without waiting for the end of it. */
export function startJoining({ bootstrap }) {
  const node = startNode('--ephemeral', bootstrap);
  return { close: () => node.close() };
}

/** Announces a key on a topic, and the key itself, until `leave`. */
export async function announce({ bootstrap, topic, seed }) {
  const announcer = new Homing(['announce', topic, '--seed', seed, '--until-stdin-closes'], { bootstrap });
  const { public_key: publicKey } = await announcer.event('announced');
  return {
    publicKey,
    leave: async () => {
      await announcer.stop();
      await announcer.event('unannounced');
    },
    close: () => announcer.close(),
  };
}

function found(answer) {
  return new Map(answer.all('peer').map((peer) => [peer.public_key, peer.relays]));
}

/** Public key to relay addresses. */
export async function lookup({ bootstrap, topic }) {
  return found(await run(['lookup', topic], { bootstrap }));
}

export async function findPeer({ bootstrap, publicKey }) {
  return found(await run(['find-peer', publicKey], { bootstrap }));
}

export async function putImmutable({ bootstrap, value }) {
  return (await run(['put', value], { bootstrap })).one('stored').target;
}

export async function getImmutable({ bootstrap, target }) {
  return (await run(['get', target], { bootstrap })).one('value')?.value ?? null;
}

/** How many nodes stored it, and the errors of those that refused. */
export async function putMutable({ bootstrap, seed, seq, value }) {
  const answer = await run(['put', value, '--seed', seed, '--seq', String(seq)], { bootstrap });
  return { stored: answer.one('stored')?.stored ?? 0, refusals: answer.all('error').map((error) => error.code) };
}

export async function getMutable({ bootstrap, publicKey, seq = 0 }) {
  const record = (await run(['get', '--key', publicKey, '--seq', String(seq)], { bootstrap })).one('value');
  return record && { seq: record.seq, value: record.value };
}
