// One network of both kinds; what one kind writes, the other reads.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';

import { keyPair } from '../lib/signed.js';
import { reference, startMixed, subject } from '../lib/sides.js';

const hex = () => randomBytes(32).toString('hex');

for (const [founder, joiner] of [
  [reference, subject],
  [subject, reference],
]) {
  describe(`a ${founder.name} network with as many ${joiner.name} nodes`, { timeout: 120_000 }, () => {
    let network;
    before(async () => {
      network = await startMixed(founder, joiner, 10);
    });
    after(() => network?.close());

    for (const [writer, reader] of [
      [reference, subject],
      [subject, reference],
    ]) {
      const route = `${writer.name} writes, ${reader.name} reads`;
      test(`announce, lookup, unannounce: ${route}`, { timeout: 30_000 }, async (t) => {
        const { bootstrap } = network;
        const topic = hex();
        const seed = hex();
        const announcement = await writer.announce({ bootstrap, topic, seed });
        t.after(() => announcement.close());
        const { publicKey } = keyPair(Buffer.from(seed, 'hex'));
        assert.equal(announcement.publicKey, publicKey.toString('hex'));

        const announced = await reader.lookup({ bootstrap, topic });
        assert.deepEqual([...announced.keys()], [announcement.publicKey]);
        const known = [...network.nodes, ...network.bootstrap];
        for (const relay of announced.get(announcement.publicKey)) assert.ok(known.includes(relay), relay);

        await announcement.leave();
        const left = await reader.lookup({ bootstrap, topic });
        assert.deepEqual([...left.keys()], []);
      });

      test(`a key that listens is found: ${route}`, { timeout: 30_000 }, async (t) => {
        const { bootstrap } = network;
        const announcement = await writer.announce({ bootstrap, topic: hex(), seed: hex() });
        t.after(() => announcement.close());
        const { publicKey } = announcement;
        assert.deepEqual([...(await reader.findPeer({ bootstrap, publicKey })).keys()], [publicKey]);
        await announcement.leave();
        assert.deepEqual([...(await reader.findPeer({ bootstrap, publicKey })).keys()], []);
      });

      test(`an immutable value: ${route}`, { timeout: 30_000 }, async () => {
        const { bootstrap } = network;
        const value = `written down ${hex()}`;
        const target = await writer.putImmutable({ bootstrap, value });
        assert.equal(await reader.getImmutable({ bootstrap, target }), value);
        assert.equal(await reader.getImmutable({ bootstrap, target: hex() }), null);
      });

      test(`a mutable record and its sequence errors: ${route}`, { timeout: 60_000 }, async () => {
        const { bootstrap } = network;
        const seed = hex();
        const publicKey = keyPair(Buffer.from(seed, 'hex')).publicKey.toString('hex');
        const put = (seq, value, by = writer) => by.putMutable({ bootstrap, seed, seq, value });
        const get = (seq) => reader.getMutable({ bootstrap, publicKey, seq });

        assert.equal(await get(0), null);
        assert.deepEqual((await put(4, 'first')).refusals, []);
        assert.deepEqual(await get(0), { seq: 4, value: 'first' });
        assert.deepEqual(await get(4), { seq: 4, value: 'first' });
        assert.equal(await get(5), null);

        assert.deepEqual((await put(4, 'first', reader)).refusals, [], 'the same again is no error');
        assert.deepEqual((await put(4, 'other')).refusals, ['seq-reused']);
        assert.deepEqual((await put(3, 'older')).refusals, ['seq-too-low']);
        assert.deepEqual(await get(0), { seq: 4, value: 'first' });
        assert.deepEqual((await put(5, 'second', reader)).refusals, []);
        assert.deepEqual(await get(0), { seq: 5, value: 'second' });
      });
    }
  });
}
