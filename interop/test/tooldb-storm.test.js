// Three of our servers and one of the library, twenty clients that write at random, servers that are killed, frozen and
// started again: in the end ours hold the same, and everything that they confirmed. HOMING_OPERATIONS=10000 for the
// long run, HOMING_SEED to repeat one.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';

import { run } from '../lib/homing.js';
import { againstItself } from '../lib/sides.js';
import { identity, node, raw, serve, until } from '../lib/tooldb.js';

const OPERATIONS = Number(process.env.HOMING_OPERATIONS ?? 400);
const SEED = process.env.HOMING_SEED ?? String(Date.now());
const SERVERS = 3;
const CLIENTS = 20;
const KEYS = 60;
/** Operations between two accidents. */
const CALM = 100;
/** How many operations a server that was struck stays away. */
const AWAY = 60;
const CONFIRM_MS = 1_500;
const HEALED_MS = 10_000;
const TOPIC = 'tool-db-default';

/** Numbers that look random and come again with the seed. */
function dice(seed) {
  let rolled = 0;
  return (sides) => createHash('sha256').update(`${seed} ${rolled++}`).digest().readUInt32BE() % sides;
}

/** A client that writes to one of the servers, and to another one when that is away. */
class Client {
  counted = 0;
  #waiting = new Map();
  #link = null;

  constructor(t, author, place) {
    Object.assign(this, { t, author, place });
  }

  async #connect(servers) {
    for (let tries = 0; tries < 50; tries++) {
      const server = servers[(this.place + tries) % servers.length];
      try {
        const link = await raw(this.t, server.port, { handshakeTimeout: 1_000 });
        link.socket.on('message', (bytes) => this.#hear(JSON.parse(bytes.toString())));
        link.send(await this.author.ping());
        const welcome = until(() => link.frames.some(({ type }) => type === 'pong'), 1_000, 'a pong');
        await Promise.race([welcome, link.closed.then(() => Promise.reject(new Error('closed')))]);
        return link;
      } catch {
        // A server that is away; the next one.
      }
    }
    throw new Error('no server is there');
  }

  #hear(frame) {
    if (frame.type === 'confirm') this.#waiting.get(frame.h)?.(frame.code);
  }

  /** Writes a record, and tells what the server said of it, if it said anything. */
  async write(servers, type, data) {
    if (this.#link?.socket.readyState !== 1) this.#link = await this.#connect(servers);
    const said = new Promise((resolve) => this.#waiting.set(data.h, resolve));
    this.#link.send({ type, id: data.h.slice(0, 10), to: [], data, ack: true });
    let timer;
    const silence = new Promise((resolve) => (timer = setTimeout(resolve, CONFIRM_MS, null)));
    const code = await Promise.race([said, silence, this.#link.closed.then(() => null)]);
    clearTimeout(timer);
    this.#waiting.delete(data.h);
    if (code === null) {
      // Frozen or gone: try elsewhere the next time.
      this.#link.socket.terminate();
      this.place += 1;
    }
    return code;
  }
}

/** What a server has, one text a record. */
async function holdings(server) {
  const { code, all } = await run(['--data-dir', server.directory, 'db', 'export']);
  assert.equal(code, 0);
  return all('record').map(({ record }) => record);
}

/** What records say, piece by piece: of a document its operations count, not the records that brought them. */
function pieces(records) {
  const of = ({ k, a, t, h, c, v }) => (c === null ? [`${k} by ${a} at ${t}: ${h}`] : v.map((made) => `${k}: ${made.a} ${made.i}`));
  return new Set(records.flatMap(of));
}

/** Pieces that not all of them have, with who has them. */
function differences(held) {
  const having = new Map();
  for (const [place, records] of held.entries()) {
    for (const piece of pieces(records)) having.set(piece, [...(having.get(piece) ?? []), place]);
  }
  return [...having].filter(([, places]) => places.length < held.length).map(([piece, places]) => `${places}: ${piece}`);
}

const isLater = (one, other) => one.t > other.t || (one.t === other.t && one.h >= other.h);

test('servers that are killed and frozen end with the same, and with all that they confirmed', { skip: againstItself, timeout: 60_000 + OPERATIONS * 100 }, async (t) => {
  t.diagnostic(`HOMING_SEED=${SEED} HOMING_OPERATIONS=${OPERATIONS}`);
  const roll = dice(SEED);
  const library = 20_000 + (process.pid % 20_000);
  const theirs = await node(t, { server: true, listen: library, topic: TOPIC });
  const servers = [];
  const args = () => ['--peer', `127.0.0.1:${library}`, ...servers.flatMap(({ port }) => ['--peer', `127.0.0.1:${port}`])];
  for (let place = 0; place < SERVERS; place++) servers.push({ ...(await serve(t, { args: args() })), state: 'up' });
  const clients = [];
  for (let place = 0; place < CLIENTS; place++) clients.push(new Client(t, await identity(TOPIC), place));

  const confirmed = new Map();
  /** One operation of a client, and what is expected of it if it is confirmed. */
  async function operate(client) {
    const { author } = client;
    const kind = roll(10);
    const value = `value ${roll(1e9)}`;
    if (kind < 6) {
      const key = `public ${roll(KEYS)}`;
      return ['put', key, await author.record(key, value)];
    }
    if (kind < 8) {
      const key = `:${author.address}.own ${roll(5)}`;
      return ['put', key, await author.record(key, value)];
    }
    if (kind < 9) {
      const key = `==name ${roll(KEYS)}`;
      return ['claim', key, await author.record(key, value)];
    }
    client.counted += 1;
    const operations = Array.from({ length: client.counted }, (_, i) => ({ a: author.address, i: i + 1, t: 'ADD', v: 1 }));
    // Counters of the library say that they are lists.
    return ['crdtPut', 'visits', await author.record('visits', operations, Date.now(), 'LIST')];
  }

  const busy = new Set();
  for (let operation = 0; operation < OPERATIONS; operation++) {
    for (const server of servers.filter(({ back }) => back <= operation)) await heal(server);
    if (operation % CALM === CALM / 2) await strike(servers[roll(SERVERS)], operation);
    const client = clients[roll(CLIENTS)];
    // Clients write at the same time; each of them one after the other.
    const before = client.last;
    client.last = (async () => {
      await before;
      const [type, key, record] = await operate(client);
      const code = await client.write(servers, type === 'claim' ? 'put' : type, record);
      if (code !== 'KEPT' && code !== 'KNOWN') return;
      const place = type === 'crdtPut' ? `${key} ${record.a}` : key;
      const known = confirmed.get(place);
      if (type !== 'claim' && (!known || isLater(record, known))) confirmed.set(place, record);
    })();
    busy.add(client.last);
    const last = client.last;
    last.finally(() => busy.delete(last));
    if (busy.size >= CLIENTS) await Promise.race(busy);
  }
  await Promise.all(busy);

  async function strike(server, operation) {
    if (servers.some(({ state }) => state !== 'up')) return;
    server.back = operation + AWAY;
    if (roll(2) === 0) {
      server.state = 'killed';
      await server.command.stop({ signal: 'SIGKILL' }).catch(() => {});
    } else {
      server.state = 'frozen';
      process.kill(server.command.pid, 'SIGSTOP');
    }
  }

  async function heal(server) {
    delete server.back;
    if (server.state === 'frozen') {
      process.kill(server.command.pid, 'SIGCONT');
    } else {
      const others = servers.filter((other) => other !== server).flatMap(({ port }) => ['--peer', `127.0.0.1:${port}`]);
      const { directory, port } = server;
      const { command } = await serve(t, { args: ['--peer', `127.0.0.1:${library}`, ...others], directory, port });
      server.command = command;
    }
    server.state = 'up';
  }

  for (const server of servers.filter(({ state }) => state !== 'up')) await heal(server);
  const healed = performance.now();
  let all;
  const agree = async () => {
    all = await Promise.all(servers.map(holdings));
    return differences(all).length === 0;
  };
  await until(agree, HEALED_MS, 'agreement').catch(() => assert.deepEqual(differences(all), []));
  t.diagnostic(`agreed ${Math.round(performance.now() - healed)} ms after the last was back`);

  const final = new Map(all[0].filter(({ c }) => c === null).map((record) => [record.k, record]));
  const said = pieces(all[0]);
  for (const [place, record] of confirmed) {
    if (record.c === null) {
      const kept = final.get(place);
      assert.ok(kept && isLater(kept, record), `confirmed: ${JSON.stringify(record)}, kept: ${JSON.stringify(kept)}`);
    } else {
      for (const { a, i } of record.v) assert.ok(said.has(`${record.k}: ${a} ${i}`), `${place} has lost operation ${i}`);
    }
  }
  assert.ok(confirmed.size >= KEYS / 2, `only ${confirmed.size} keys were written`);
  t.diagnostic(`${confirmed.size} keys confirmed, ${final.size} held, ${theirs.store.records.size} by the library`);
});
