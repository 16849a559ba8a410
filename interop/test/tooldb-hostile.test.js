// Nine ways to misbehave towards one server, at the same time; and a client of the published library that goes
// on being served.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { test } from 'node:test';

import { againstItself } from '../lib/sides.js';
import { client, identity, raw, serve, until } from '../lib/tooldb.js';

const SOON_MS = 5_000;
/** What a quiet server takes is some ten megabytes; nobody may make it take more than its limits add up to. */
const MEMORY_MAX = 256 * 1024 * 1024;
const put = (data, id = 'put') => ({ type: 'put', id, to: [], data });

function residentBytes(pid) {
  const pages = readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1];
  return Number(pages) * 4096;
}

test('nine misbehaviours at once: the server lives, bounded, and serves whoever behaves', { skip: againstItself, timeout: 90_000 }, async (t) => {
  const { port, command } = await serve(t);
  const honest = await client(t, port);
  await honest.anonSignIn();
  await honest.putData('==owned', 'by me');
  const reader = await client(t, port);
  await until(() => reader.getData('==owned', false, 300), SOON_MS, 'the name');

  const eve = await identity();
  const introduced = async (options) => {
    const link = await raw(t, port, options);
    link.send(await eve.ping());
    await until(() => link.frames.some((frame) => frame.type === 'pong'), SOON_MS, 'a pong');
    return link;
  };

  // A flood: as many frames as fit the wire, most of them nonsense.
  const flood = await introduced();
  const nonsense = '{"type":"get","id":"x","to":[],"key":"nobody has this"}';
  for (let i = 0; i < 20_000; i++) flood.send(nonsense);

  // A slow reader: asks for much, and reads nothing.
  const slow = await introduced();
  slow.socket._socket.pause();
  const wide = await eve.record('wide', 'x'.repeat(200_000));
  slow.send(put(wide));
  for (let i = 0; i < 400; i++) slow.send({ type: 'get', id: `slow ${i}`, to: [], key: 'wide' });

  // A frame that never ends: its header says a gigabyte, and the bytes keep coming.
  const endless = net.connect(port, '127.0.0.1');
  t.after(() => endless.destroy());
  endless.on('error', () => {}); // told by close
  endless.write('GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
    'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n');
  const endlessClosed = new Promise((resolve) => endless.on('close', resolve));
  endless.write(Buffer.from([0x81, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 1, 2, 3, 4]));
  const more = setInterval(() => endless.writable && endless.write(Buffer.alloc(64 * 1024)), 5);
  t.after(() => clearInterval(more));

  // A forged identity: somebody else's name under a signature of one's own.
  const forger = await raw(t, port);
  const claimed = honest.network.getClientAddress();
  forger.send({ ...(await eve.ping()), clientId: claimed });

  // A name that is taken by dating back, and a clock that runs ahead.
  const thief = await introduced();
  thief.send({ ...put(await eve.record('==owned', 'by eve', 1)), ack: true });
  thief.send({ ...put(await eve.record('ahead', 'of time', Date.now() + 3_600_000), 'ahead'), ack: true });

  // A value of 20 MB.
  const huge = await introduced();
  huge.send(put({ k: 'huge', v: 'x'.repeat(20_000_000) }));

  // 100,000 subscriptions.
  const greedy = await introduced();
  for (let i = 0; i < 100_000; i++) greedy.send({ type: 'subscribe', id: `s${i}`, to: [], key: `key ${i}` });

  // A ping that was heard earlier, sent again by somebody else much later.
  const replayed = await raw(t, port);
  const old = await eve.ping();
  old.peer.timestamp -= 10 * 60_000;
  replayed.send(old);

  // Meanwhile, honest clients are served.
  const asked = performance.now();
  await honest.putData('meanwhile', 'served');
  await until(async () => (await reader.getData('meanwhile', false, 500)) === 'served', SOON_MS, 'an honest value');
  assert.ok(performance.now() - asked < SOON_MS);
  assert.equal(await reader.getData('==owned', false, 500), 'by me');

  assert.match((await forger.closed).reason, /forged/);
  assert.match((await replayed.closed).reason, /stale/);
  await huge.closed;
  await endlessClosed;
  const verdict = (id) => until(() => thief.frames.find((frame) => frame.type === 'confirm' && frame.id === id), SOON_MS, id);
  assert.equal((await verdict('put')).code, 'REFUSED');
  assert.equal((await verdict('ahead')).code, 'REFUSED');

  // Whoever sends so much is read more slowly, so this takes some seconds.
  const status = await until(async () => {
    const now = await (await fetch(`http://127.0.0.1:${port}/status`)).json();
    return now.records_limited >= 100_000 - 10_000 && now;
  }, 15_000, 'the refusal of nine subscriptions in ten');
  assert.ok(status.connections_slow >= 1, 'the slow reader was dropped');
  const resident = residentBytes(command.pid);
  assert.ok(resident < MEMORY_MAX, `${Math.round(resident / 1e6)} MB`);
  assert.equal(await command.stop(), 0);
});

test('frames that end the JavaScript server do nothing to ours', { skip: againstItself, timeout: 30_000 }, async (t) => {
  const { port } = await serve(t);
  const eve = await identity();
  const { cases } = JSON.parse(readFileSync(new URL('../../vectors/tooldb/malformed.json', import.meta.url)));
  const valid = await eve.record('some key', 1);
  // The vectors leave places for what only a sender can fill in.
  const filled = {
    'put bad address': put({ ...valid, a: 'garbage' }),
    'put without to': { type: 'put', id: 'x', data: valid },
    'put with numeric k': put({ ...valid, k: 5 }),
    'crdtPut v not an array on existing MAP': { ...put({ ...(await eve.record('map', 7)), c: 'MAP' }), type: 'crdtPut' },
    '200k nested arrays': `{"type":"put","id":"a","to":[],"data":${'['.repeat(200_000)}${']'.repeat(200_000)}}`,
  };
  const text = { text: 'hello', null: 'null', '[]': '[]', '{}': '{}' };
  assert.equal(cases.length, 18);
  for (const { name, frame } of cases) {
    const link = await raw(t, port);
    link.send(await eve.ping());
    await until(() => link.frames.length >= 2, SOON_MS, 'a pong and a question');
    link.send(text[name] ?? filled[name] ?? JSON.stringify(frame));
    link.send({ type: 'subscribe', id: 'after', to: [], key: 'some key' });
    link.send({ type: 'function', id: 'alive', to: [], function: 'no such function', args: {} });
    const alive = await until(() => link.frames.find((answer) => answer.id === 'alive'), SOON_MS, `life after ${name}`);
    assert.equal(alive.code, 'NOT_FOUND', name);
    link.socket.close();
  }
});
