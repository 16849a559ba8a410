// What a storing node keeps, refuses and hands out; S numbers are those of the conformance scenarios.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';

import { id, text } from '../lib/addresses.js';
import { COMMAND, ERROR } from '../lib/packets.js';
import { createNode } from '../lib/reference.js';
import { defectOfReference, reference, subject } from '../lib/sides.js';
import {
  announcement,
  decodePeer,
  decodePeers,
  decodeRecord,
  hash,
  keyPair,
  mutableRecord,
  NS,
  unannouncement,
} from '../lib/signed.js';
import { network, oneNode } from '../lib/stage.js';

const relays = (count, port = 4_000) =>
  Array.from({ length: count }, (_, i) => ({ host: `10.0.0.${i + 1}`, port: port + i }));

/** A storing node as one client sees it, with a token for everything. */
async function store(t) {
  const { node, client } = await oneNode(t);
  const nodeId = id(node);
  const token = async () => (await client.request(node, { command: COMMAND.LOOKUP, target: randomBytes(32) })).token;
  const announce = async ({ target, keys, ...fields }) => {
    const fresh = await token();
    const value = announcement({ target, nodeId, token: fresh, keys, ...fields });
    return client.request(node, { command: COMMAND.ANNOUNCE, target, token: fresh, value });
  };
  const lookup = async (target) => decodePeers((await client.request(node, { command: COMMAND.LOOKUP, target })).value);
  const findPeer = async (keys) => {
    const { value } = await client.request(node, { command: COMMAND.FIND_PEER, target: hash(keys.publicKey) });
    return decodePeer(value);
  };
  return { node, nodeId, client, token, announce, lookup, findPeer };
}

const bounded = { timeout: 30_000 };

describe('storage', { concurrency: 4 }, () => {
  test('S1: a record comes back as announced, its relays cut to three', bounded, async (t) => {
    const { announce, lookup } = await store(t);
    const target = randomBytes(32);
    const keys = keyPair();
    const reply = await announce({ target, keys, relays: relays(5) });
    assert.deepEqual([reply.error, reply.value, reply.token, reply.closer], [0, null, null, null]);
    const { peers } = await lookup(target);
    assert.deepEqual(peers, [{ publicKey: keys.publicKey, relayAddresses: relays(3) }]);
  });

  for (const reader of [reference, subject]) {
    test(`S1: announced by JavaScript on the subject's network, read by ${reader.name}`, bounded, async (t) => {
      const { bootstrap } = await network(t, 5);
      const announcer = createNode({ ephemeral: true, bootstrap });
      t.after(() => announcer.destroy());
      const target = randomBytes(32);
      const keys = keyPair();
      await announcer.announce(target, keys, relays(5)).finished();
      const found = await reader.lookup({ bootstrap, topic: target.toString('hex') });
      assert.deepEqual([...found], [[keys.publicKey.toString('hex'), relays(3).map(text)]]);
    });
  }

  const keepsOld = defectOfReference('a record is not replaced while young');
  test('S3: an announcement replaces the one before', { ...bounded, ...keepsOld }, async (t) => {
    const { announce, lookup } = await store(t);
    const target = randomBytes(32);
    const keys = keyPair();
    await announce({ target, keys, relays: relays(2, 4_000) });
    await announce({ target, keys, relays: relays(2, 5_000) });
    assert.deepEqual((await lookup(target)).peers[0].relayAddresses, relays(2, 5_000));
  });

  test('S5: only the right signature takes an announcement back', bounded, async (t) => {
    const { node, nodeId, client, token, announce, lookup } = await store(t);
    const target = randomBytes(32);
    const keys = keyPair();
    await announce({ target, keys });
    const request = async (namespace, signer = keys) => {
      const fresh = await token();
      const value = unannouncement({ target, nodeId, token: fresh, keys: signer }, namespace);
      return { command: COMMAND.UNANNOUNCE, target, token: fresh, value };
    };
    assert.ok(await client.silence(node, await request(NS.ANNOUNCE)));
    assert.equal((await client.request(node, await request(NS.UNANNOUNCE, keyPair()))).error, 0, 'of another key');
    assert.equal((await lookup(target)).peers.length, 1);
    const gone = await client.request(node, await request(NS.UNANNOUNCE));
    assert.deepEqual([gone.error, gone.value, gone.token, gone.closer], [0, null, null, null]);
    assert.deepEqual((await lookup(target)).peers, []);
  });

  test('an announcement needs a token, a signature over it, and this node in it', bounded, async (t) => {
    const { node, nodeId, client, token, lookup } = await store(t);
    const target = randomBytes(32);
    const keys = keyPair();
    const fresh = await token();
    const wrong = [
      { token: null, value: announcement({ target, nodeId, token: fresh, keys }) },
      { token: fresh, value: announcement({ target, nodeId, token: randomBytes(32), keys }) },
      { token: fresh, value: announcement({ target, nodeId: randomBytes(32), token: fresh, keys }) },
      { token: fresh, value: announcement({ target: randomBytes(32), nodeId, token: fresh, keys }) },
      { token: fresh, value: randomBytes(60) },
      { token: fresh, value: null },
    ];
    for (const fields of wrong) {
      assert.ok(await client.silence(node, { command: COMMAND.ANNOUNCE, target, ...fields }));
    }
    assert.deepEqual((await lookup(target)).peers, []);
  });

  test('S7: a bump only grows, and not far into the future', bounded, async (t) => {
    const { announce, lookup } = await store(t);
    const target = randomBytes(32);
    const keys = keyPair();
    const now = Date.now();
    const steps = [
      [0, 0],
      [1_000, 1_000],
      [900, 1_000],
      [now + 70_000, 1_000],
      [now, now],
      [now + 50_000, now + 50_000],
    ];
    for (const [bump, kept] of steps) {
      await announce({ target, keys, bump });
      assert.equal((await lookup(target)).bump, kept, `after ${bump}`);
    }
  });

  test('S8: of thirty announcers a lookup gets twenty, not always the same', bounded, async (t) => {
    const { announce, lookup } = await store(t);
    const target = randomBytes(32);
    for (let i = 0; i < 30; i++) await announce({ target, keys: keyPair() });
    const seen = new Set();
    for (let i = 0; i < 10; i++) {
      const { peers } = await lookup(target);
      assert.equal(peers.length, 20);
      for (const { publicKey } of peers) seen.add(publicKey.toString('hex'));
    }
    assert.ok(seen.size > 20, `always the same ${seen.size}`);
    assert.ok(seen.size <= 30);
  });

  test('a key that announces itself is found by it, with the announcer as its relay', bounded, async (t) => {
    const { announce, findPeer, lookup } = await store(t);
    const keys = keyPair();
    const target = hash(keys.publicKey);
    assert.equal(await findPeer(keys), null);
    await announce({ target, keys, relays: relays(2) });
    const record = { publicKey: keys.publicKey, relayAddresses: relays(2) };
    assert.deepEqual(await findPeer(keys), record);
    assert.deepEqual((await lookup(target)).peers, [record]);
    await announce({ target, keys: keyPair() });
    assert.deepEqual(await findPeer(keys), record, 'another key does not take the place');
  });

  test('S10: an immutable value under another hash is met with silence', bounded, async (t) => {
    const { node, client, token } = await store(t);
    const value = randomBytes(100);
    const put = async (target) => ({ command: COMMAND.IMMUTABLE_PUT, target, token: await token(), value });
    const get = (target) => client.request(node, { command: COMMAND.IMMUTABLE_GET, target });
    const elsewhere = randomBytes(32);
    assert.ok(await client.silence(node, await put(elsewhere)));
    assert.ok(await client.silence(node, { ...(await put(hash(value))), token: null }));
    assert.equal((await get(elsewhere)).value, null);
    assert.equal((await get(hash(value))).value, null);
    assert.equal((await client.request(node, await put(hash(value)))).error, 0);
    const { value: kept, token: offered } = await get(hash(value));
    assert.deepEqual(kept, value);
    assert.equal(offered.length, 32);
  });

  test('S12: 1,000 bytes are kept; more are kept whole or not at all', bounded, async (t) => {
    const { node, client, token } = await store(t);
    for (const size of [1_000, 1_200, 1_201, 1_400, 1_900]) {
      const value = randomBytes(size);
      const target = hash(value);
      const tid = client.post(node, { command: COMMAND.IMMUTABLE_PUT, target, token: await token(), value });
      await client.fence(node);
      const stored = client.kept.find((packet) => packet.tid === tid)?.error === 0;
      const { value: kept } = await client.request(node, { command: COMMAND.IMMUTABLE_GET, target });
      assert.deepEqual(kept, stored ? value : null, `${size} bytes`);
      assert.ok(stored || size > 1_000, `${size} bytes refused`);
      t.diagnostic(`${size} bytes: ${stored ? 'kept' : 'refused'}`);
    }
  });

  test('a mutable record: sequence errors, and only what its key signed', bounded, async (t) => {
    const { node, client, token } = await store(t);
    const keys = keyPair();
    const target = hash(keys.publicKey);
    const put = async (fields, at = target) => {
      const value = mutableRecord({ keys, ...fields });
      return { command: COMMAND.MUTABLE_PUT, target: at, token: await token(), value };
    };
    const get = async (seq) => {
      const { value } = await client.request(node, { command: COMMAND.MUTABLE_GET, target, value: Buffer.from([seq]) });
      return decodeRecord(value);
    };
    const asked = async (...fields) => (await client.request(node, await put(...fields))).error;
    const text = (words) => Buffer.from(words);

    assert.equal(await get(0), null);
    assert.equal(await asked({ seq: 7, value: text('seven') }), 0);
    assert.equal(await asked({ seq: 7, value: text('seven') }), 0);
    assert.equal(await asked({ seq: 7, value: text('other') }), ERROR.SEQ_REUSED);
    assert.equal(await asked({ seq: 6, value: text('six') }), ERROR.SEQ_TOO_LOW);
    assert.deepEqual((await get(7)).value, text('seven'));
    assert.equal(await get(8), null);

    const forged = await put({ seq: 9, value: text('nine') });
    forged.value[forged.value.length - 1] ^= 1;
    assert.ok(await client.silence(node, forged));
    assert.ok(await client.silence(node, await put({ seq: 9, value: text('nine') }, randomBytes(32))));
    assert.ok(await client.silence(node, { ...(await put({ seq: 9, value: text('nine') })), token: null }));
    assert.ok(await client.silence(node, { command: COMMAND.MUTABLE_GET, target }));
    assert.equal((await get(0)).seq, 7);
  });
});
