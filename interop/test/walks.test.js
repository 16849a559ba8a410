// A mixed network with more nodes than a walk returns: D22, and whether values lie where the other kind looks.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';

import { byDistance } from '../lib/addresses.js';
import { COMMAND } from '../lib/packets.js';
import { reference, startMixed, subject } from '../lib/sides.js';
import { wire } from '../lib/stage.js';

const EACH = 40;
const VALUES = 25;
const K = 20;

describe(`${EACH} JavaScript and ${EACH} ${subject.name} nodes`, { timeout: 180_000 }, () => {
  let network;
  before(async () => {
    network = await startMixed(reference, subject, EACH);
  });
  after(() => network?.close());

  for (const [writer, reader] of [
    [reference, subject],
    [subject, reference],
  ]) {
    test(`every value that ${writer.name} puts is got by ${reader.name}, near its hash`, { timeout: 90_000 }, async (t) => {
      const { bootstrap, nodes } = network;
      const client = await wire(t);
      const shares = [];
      for (let i = 0; i < VALUES; i++) {
        const value = randomBytes(50).toString('hex');
        const target = await writer.putImmutable({ bootstrap, value });
        assert.equal(await reader.getImmutable({ bootstrap, target }), value);
        shares.push(await shareAtClosest(client, nodes, target));
      }
      const mean = shares.reduce((sum, share) => sum + share, 0) / VALUES;
      t.diagnostic(`${(100 * mean).toFixed(1)} % of the ${K} closest nodes hold it, ${100 * Math.min(...shares)} % at least`);
      assert.ok(mean > 0.95, `${mean} of the closest nodes`);
    });
  }
});

async function shareAtClosest(client, nodes, hex) {
  const target = Buffer.from(hex, 'hex');
  const closest = nodes.toSorted(byDistance(target)).slice(0, K);
  const get = { command: COMMAND.IMMUTABLE_GET, target };
  const replies = await Promise.all(closest.map((node) => client.request(node, get)));
  return replies.filter((reply) => reply.value !== null).length / K;
}
