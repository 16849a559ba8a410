// A client in a network whose one node lies to it.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';

import { COMMAND } from '../lib/packets.js';
import { reference, subject } from '../lib/sides.js';
import { hash, keyPair, mutableAnswer } from '../lib/signed.js';
import { wire } from '../lib/stage.js';

const bounded = { timeout: 30_000 };
const hex = (bytes) => bytes.toString('hex');

/** A node that answers one application command with this, and knows nobody. */
async function liar(t, command, answer) {
  const node = await wire(t);
  const token = randomBytes(32);
  node.serve((request) => {
    const lie = !request.internal && request.command === command ? answer(request) : {};
    return { id: node.id, token, ...lie };
  });
  return { bootstrap: [node.address], node };
}

for (const side of [reference, subject]) {
  describe(`a ${side.name} client among liars`, { concurrency: 4 }, () => {
    const counts = {
      'four billion': Buffer.from('feffffffff', 'hex'),
      'a million': Buffer.from('fe00001000', 'hex'),
      'more than fits a number': Buffer.from('ffffffffffffffffff', 'hex'),
      'two of which one is missing': Buffer.concat([Buffer.from([2]), randomBytes(32), Buffer.from([0])]),
      nothing: Buffer.alloc(0),
    };
    for (const [claim, value] of Object.entries(counts)) {
      test(`a lookup answer that claims ${claim} is no answer`, bounded, async (t) => {
        const { bootstrap } = await liar(t, COMMAND.LOOKUP, () => ({ value }));
        assert.deepEqual([...(await side.lookup({ bootstrap, topic: hex(randomBytes(32)) }))], []);
      });
    }

    test('a value that is not of the hash asked for is not taken', bounded, async (t) => {
      const { bootstrap } = await liar(t, COMMAND.IMMUTABLE_GET, () => ({ value: Buffer.from('another') }));
      assert.equal(await side.getImmutable({ bootstrap, target: hex(randomBytes(32)) }), null);
      const target = hex(hash(Buffer.from('another')));
      assert.equal(await side.getImmutable({ bootstrap, target }), 'another', 'under its own hash it is');
    });

    test('a record that is forged or older than asked for is not taken', bounded, async (t) => {
      const keys = keyPair();
      const publicKey = hex(keys.publicKey);
      const record = mutableAnswer({ keys, seq: 4, value: Buffer.from('four') });
      const { bootstrap } = await liar(t, COMMAND.MUTABLE_GET, () => ({ value: record }));
      assert.deepEqual(await side.getMutable({ bootstrap, publicKey }), { seq: 4, value: 'four' });
      assert.equal(await side.getMutable({ bootstrap, publicKey, seq: 5 }), null, 'older');

      const forged = Buffer.from(record);
      forged[1 + 1] ^= 1; // the first byte of the value
      const { bootstrap: elsewhere } = await liar(t, COMMAND.MUTABLE_GET, () => ({ value: forged }));
      assert.equal(await side.getMutable({ bootstrap: elsewhere, publicKey }), null, 'forged');
    });

    test('of several records the newest is taken', bounded, async (t) => {
      const keys = keyPair();
      const nodes = await Promise.all(
        [3, 9, 6].map((seq) => {
          const value = mutableAnswer({ keys, seq, value: Buffer.from(`version ${seq}`) });
          return liar(t, COMMAND.MUTABLE_GET, () => ({ value }));
        }),
      );
      const bootstrap = nodes.flatMap((node) => node.bootstrap);
      const record = await side.getMutable({ bootstrap, publicKey: hex(keys.publicKey) });
      assert.deepEqual(record, { seq: 9, value: 'version 9' });
    });
  });
}
