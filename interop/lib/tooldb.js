// The published Tool Db library on the two adapters of its own design that it leaves to others: a WebSocket on
// its network base class (the published one is not on the registry) and a store in memory.

import { createHash, webcrypto } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import Hyperswarm from 'hyperswarm';
import WebSocket, { WebSocketServer } from 'ws';

import { parse } from './addresses.js';
import { Homing } from './homing.js';

const require = createRequire(import.meta.url);
const library = require('tool-db');
const EcdsaUser = require('@tool-db/ecdsa-user').default;

export const { MapCrdt, ListCrdt, CounterCrdt } = library;

const CONNECT_MS = 5_000;
const ARRIVES_MS = 3_000;

/** What every adapter does with a connection. */
class Network extends library.ToolDbNetworkAdapter {
  sockets = new Set();
  /** Every frame that arrived, parsed. */
  frames = [];

  /** Hands on what arrives by `event`, and sends where the library says. */
  carry(socket, event, { isOpen, send }) {
    let id = null;
    this.sockets.add(socket);
    socket.on(event, (bytes) => {
      const text = bytes.toString();
      this.frames.push(JSON.parse(text));
      this.onClientMessage(text, id, (claimed) => {
        id = claimed;
        this.isClientConnected[id] = isOpen;
        this.clientToSend[id] = send;
      });
    });
    socket.on('error', () => {}); // told by close
    socket.on('close', () => {
      this.sockets.delete(socket);
      if (id) this.onClientDisconnect(id);
    });
  }
}

/** Carries the library's frames over WebSockets, as its documentation describes an adapter. */
class WebSocketNetwork extends Network {
  constructor(db) {
    super(db);
    db.once('init', () => {
      if (db.options.server) this.#listen(db.options.port);
      for (const { host, port } of db.options.peers) this.connectTo(host, port);
    });
  }

  #listen(port) {
    this.listener = new WebSocketServer({ host: '127.0.0.1', port });
    this.listener.on('connection', (socket) => this.#carry(socket));
  }

  connectTo(host, port) {
    const socket = new WebSocket(`ws://${host}:${port}`);
    socket.on('open', async () => socket.send(await this.craftPingMessage()));
    this.#carry(socket);
    return socket;
  }

  #carry(socket) {
    const isOpen = () => socket.readyState === WebSocket.OPEN;
    this.carry(socket, 'message', { isOpen, send: (message) => socket.send(message) });
  }

  close() {
    for (const socket of this.sockets) socket.terminate();
    this.listener?.close();
  }
}

/** The bridge that the library's guide leaves to its reader: frames over the connections of a Hyperswarm. */
class SwarmNetwork extends Network {
  constructor(db) {
    super(db);
    this.swarm = new Hyperswarm({ bootstrap: db.options.bootstrap });
    this.swarm.on('connection', async (socket, { client }) => {
      this.carry(socket, 'data', { isOpen: () => !socket.destroyed, send: (message) => socket.write(message) });
      if (client) socket.write(await this.craftPingMessage());
    });
    const topic = createHash('sha256').update(db.options.topic).digest();
    db.once('init', () => this.swarm.join(topic, { server: db.options.server, client: true }));
  }

  close() {
    return this.swarm.destroy();
  }
}

/** Keeps records in memory; a node that comes back under the same name finds them again. */
const memories = new Map();

class MemoryStore extends library.ToolDbStorageAdapter {
  constructor(db, forceStorageName) {
    super(db, forceStorageName);
    const name = this.storageName;
    if (!memories.has(name)) memories.set(name, new Map());
    this.records = memories.get(name);
  }

  async put(key, data) {
    this.records.set(key, data);
    return data;
  }

  async get(key) {
    if (!this.records.has(key)) throw new Error('not found');
    return this.records.get(key);
  }

  async query(prefix) {
    return [...this.records.keys()].filter((key) => key.startsWith(prefix));
  }
}

let names = 0;

/** A node of the library; `port` is the server that it dials, if any. */
export async function node(t, { port, topic = 'tool-db-default', name = `node-${++names}`, server = false, listen } = {}) {
  const db = new library.ToolDb({
    networkAdapter: WebSocketNetwork,
    storageAdapter: MemoryStore,
    userAdapter: EcdsaUser,
    storageName: name,
    topic,
    server,
    host: '127.0.0.1',
    port: listen ?? 1,
    peers: port ? [{ host: '127.0.0.1', port }] : [],
  });
  t.after(() => db.network.close());
  await db.ready;
  return db;
}

/** A node of the library that meets others by its topic alone. */
export async function swarmer(t, bootstrap, { topic, server = false }) {
  const db = new library.ToolDb({
    networkAdapter: SwarmNetwork,
    storageAdapter: MemoryStore,
    userAdapter: EcdsaUser,
    storageName: `node-${++names}`,
    topic,
    server,
    bootstrap: bootstrap.map(parse),
    host: '127.0.0.1',
    port: 1, // nobody listens there
  });
  t.after(() => db.network.close());
  await db.ready;
  return db;
}

/** Waits until a node has been welcomed by whom it dialled. */
export async function welcomed(db) {
  await until(() => db.network.frames.some((frame) => frame.type === 'pong'), CONNECT_MS, 'a pong');
  return db;
}

export async function client(t, port, options) {
  return welcomed(await node(t, { port, ...options }));
}

/** Waits until something holds; polls, for the library has no events for most things. */
export async function until(holds, within, what) {
  const end = performance.now() + within;
  for (;;) {
    const result = await holds();
    if (result) return result;
    if (performance.now() > end) throw new Error(`${what} did not come within ${within} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Reads until a value is there: puts have no acknowledgement that could be waited for. */
export function arrives(db, key, expected) {
  const read = async () => {
    const value = await db.getData(key, false, 500);
    return JSON.stringify(value) === JSON.stringify(expected);
  };
  return until(read, ARRIVES_MS, `${key} = ${JSON.stringify(expected)}`);
}

/** Our server under test, in a directory that a later one can take over. */
export async function serve(t, { args = [], directory, port = 0 } = {}) {
  const own = directory ?? mkdtempSync(join(tmpdir(), 'homing-db-'));
  if (!directory) t.after(() => rmSync(own, { recursive: true, force: true }));
  const command = new Homing(['--data-dir', own, '--port', String(port), 'db', 'serve', ...args]);
  t.after(() => command.close());
  const { address } = await command.event('listening');
  return { command, directory: own, port: Number(address.split(':').at(-1)) };
}

const sha256 = (text) => createHash('sha256').update(text).digest('hex');

/** A key pair that signs as the library does, without the library's good manners. */
export async function identity(topic = 'tool-db-default') {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256' };
  const { publicKey, privateKey } = await webcrypto.subtle.generateKey(algorithm, true, ['sign']);
  const { x, y } = await webcrypto.subtle.exportKey('jwk', publicKey);
  const sign = async (text) => {
    const bytes = await webcrypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, privateKey, Buffer.from(text));
    return Buffer.from(bytes).toString('hex');
  };
  const address = x + y;
  const record = async (k, v, t = Date.now(), c = null) => {
    const h = sha256(`${JSON.stringify(v)}${address}${t}0`);
    return { k, a: address, n: 0, t, h, s: await sign(h), v, c };
  };
  const ping = async (changes = {}) => {
    const timestamp = Date.now();
    const sig = await sign(sha256(`${topic}-${timestamp}-127.0.0.1:1`));
    const peer = { topic, timestamp, host: '127.0.0.1', port: 1, address, sig, ...changes };
    const clientId = address.slice(-20);
    return { type: 'ping', clientId, to: [clientId], isServer: false, id: 'ping', peer };
  };
  return { address, record, ping };
}

/** A socket without the library. */
export async function raw(t, port, options) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}`, options);
  const frames = [];
  const closed = new Promise((resolve) => socket.on('close', (code, reason) => resolve({ code, reason: String(reason) })));
  socket.on('message', (bytes) => frames.push(JSON.parse(bytes.toString())));
  socket.on('error', () => {}); // told by close
  t.after(() => socket.terminate());
  await new Promise((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('close', () => reject(new Error('refused')));
  });
  return { socket, frames, closed, send: (frame) => socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame)) };
}
