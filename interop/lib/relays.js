// Blind relays: the reference's, and `homing relay`. `key` is theirs, as bytes.

import blindRelay from 'blind-relay';
import HyperDHT from 'hyperdht';

import { Homing } from './homing.js';
import { createNode } from './reference.js';

/** A relay made of the reference's parts, as its own tests make one. */
export async function javaScriptRelay(t, network) {
  const node = createNode({ ephemeral: true, firewalled: false, bootstrap: network.bootstrap });
  t.after(() => node.destroy({ force: true }));
  await node.fullyBootstrapped();
  const relay = new blindRelay.Server({ createStream: (options) => node.createRawStream({ ...options, framed: true }) });
  t.after(() => relay.close());
  const server = node.createServer({ shareLocalAddress: false }, (socket) => {
    const session = relay.accept(socket, { id: socket.remotePublicKey });
    session.on('error', () => {}); // a client that goes is no failure
    socket.on('error', () => {});
  });
  await server.listen(HyperDHT.keyPair());
  return { key: server.publicKey, relay };
}

/** The binary as a relay. */
export async function rustRelay(t, network, args = []) {
  const process = new Homing(['relay', '--host', '127.0.0.1', ...args], { bootstrap: network.bootstrap });
  t.after(() => process.close());
  const { key } = await process.event('relaying');
  return { key: Buffer.from(key, 'hex'), process };
}
