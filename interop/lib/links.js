// Both ends of connections: commands of the binary that serve and dial keys.

import { createHash } from 'node:crypto';
import { once } from 'node:events';

import HyperDHT from 'hyperdht';

import { Homing } from './homing.js';

/** Serves a key until the test ends; `key` is it, as bytes. */
export async function listen(t, bootstrap, args) {
  const listener = new Homing(['listen', ...args], { bootstrap });
  t.after(() => listener.close());
  const { key } = await listener.event('listening');
  listener.key = Buffer.from(key, 'hex');
  return listener;
}

/** Dials a key; its events are told apart from what the peer sends, which is `output`. */
export function dial(t, bootstrap, key, args = []) {
  const dialler = new Homing(['connect', key.toString('hex'), ...args], { bootstrap, events: 'stderr' });
  t.after(() => dialler.close());
  return dialler;
}

/** Serves a key with the reference, until the node ends. */
export async function serve(node, options, onconnection) {
  const server = node.createServer(options, onconnection);
  await server.listen(HyperDHT.keyPair());
  return server;
}

/** What comes back for what the reference sends by this connection, which it then ends. */
export async function echoed(connection, sent) {
  const came = [];
  let missing = sent.length;
  connection.on('data', (chunk) => {
    came.push(chunk);
    missing -= chunk.length;
    if (missing <= 0) connection.end();
  });
  connection.write(sent);
  await once(connection, 'close');
  return Buffer.concat(came);
}

/** Everything of a stream until it ends. */
export async function all(stream) {
  const chunks = [];
  stream.on('data', (chunk) => chunks.push(chunk));
  await once(stream, 'end');
  return Buffer.concat(chunks);
}

/** The number of bytes of a stream and their hash, once it ended. */
export async function digest(stream) {
  const hash = createHash('sha256');
  let bytes = 0;
  stream.on('data', (chunk) => {
    bytes += chunk.length;
    hash.update(chunk);
  });
  await once(stream, 'end');
  return { bytes, sha256: hash.digest('hex') };
}

/** Writes chunks as fast as the stream takes them, and ends it. */
export async function pour(stream, chunk, times) {
  const hash = createHash('sha256');
  for (let i = 0; i < times; i++) {
    hash.update(chunk);
    if (!stream.write(chunk)) await once(stream, 'drain');
  }
  stream.end();
  return { bytes: chunk.length * times, sha256: hash.digest('hex') };
}
