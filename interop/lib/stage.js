// What most wire tests stand on: a small network, and a socket that talks to one node of it.

import { Wire } from './wire.js';
import { subject } from './sides.js';

/** A network of the subject's nodes that ends with the test. */
export async function network(t, size) {
  const started = await subject.startNetwork({ size });
  t.after(() => started.close());
  return started;
}

/** A socket that closes with the test. */
export async function wire(t, options) {
  const opened = await Wire.open(options);
  t.after(() => opened.close());
  return opened;
}

/** A persistent node with an id, in a network of three; and a socket. */
export async function oneNode(t) {
  const { nodes, bootstrap } = await network(t, 3);
  return { node: nodes[0], others: [...bootstrap, ...nodes.slice(1)], client: await wire(t) };
}
