// Nodes of both kinds in one network, each judged by the same raw requests; and what happens to the dead.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';

import { id } from '../lib/addresses.js';
import { COMMAND, ERROR, INTERNAL } from '../lib/packets.js';
import { reference, startMixed, subject } from '../lib/sides.js';
import { wire } from '../lib/stage.js';

const FOUR_PINGS_MS = 5_000;

const bounded = { timeout: 90_000 };
const lookup = (token) => ({ command: COMMAND.LOOKUP, target: randomBytes(32), token });

// Most of what these tests do is wait.
describe('mixed networks', { concurrency: true, timeout: 180_000 }, () => {
  for (const [founder, joiner] of [
    [reference, subject],
    [subject, reference],
  ]) {
    describe(`a ${founder.name} network joined by ${joiner.name} nodes`, { concurrency: 4, timeout: 120_000 }, () => {
      let network;
      before(async () => {
        network = await startMixed(founder, joiner, 10);
      });
      after(() => network?.close());

      for (const [kind, pick] of [
        [founder, () => network.nodes.find((node) => !network.joined.includes(node))],
        [joiner, () => network.joined[0]],
      ]) {
        test(`a ${kind.name} node refuses an unknown command and points on`, bounded, async (t) => {
          const client = await wire(t);
          const reply = await client.request(pick(), { command: 77, target: randomBytes(32), value: randomBytes(9) });
          assert.equal(reply.error, ERROR.UNKNOWN_COMMAND);
          assert.deepEqual(reply.id, id(pick()));
          assert.equal(reply.token, null);
          assert.ok(reply.closer.length >= 15, `only ${reply.closer.length}`);
        });

        test(`a ${kind.name} node refuses a token after 15 s and hands out a fresh one`, bounded, async (t) => {
          const client = await wire(t);
          const first = await client.request(pick(), lookup());
          assert.equal((await client.request(pick(), lookup(first.token))).error, 0);
          await client.fence(pick(), 8_000);
          await client.fence(pick(), 7_200);
          const refused = await client.request(pick(), lookup(first.token));
          assert.equal(refused.error, ERROR.INVALID_TOKEN);
          assert.equal((await client.request(pick(), lookup(refused.token))).error, 0);
        });
      }

      for (const [victim, witness] of [
        [reference, subject],
        [subject, reference],
      ]) {
        // Fewer than twenty nodes, so that no query may end before it knows about each of them.
        const title = `a dead ${victim.name} node that a ${witness.name} query meets is dropped by all`;
        test(title, bounded, async (t) => {
          const small = await startMixed(founder, joiner, 3);
          t.after(() => small.close());
          const { nodes, close } = await victim.startNetwork({ size: 1, bootstrap: small.bootstrap });
          const [dead] = nodes;
          const client = await wire(t);
          const listing = async () => {
            const target = id(dead);
            const findNode = { internal: true, command: INTERNAL.FIND_NODE, target };
            const asked = [...small.bootstrap, ...small.nodes];
            const replies = await Promise.all(asked.map((node) => client.request(node, findNode)));
            return asked.filter((_, i) => replies[i].closer?.includes(dead));
          };
          assert.ok((await listing()).length > 3);
          await close();
          // Hold its port, or another test's node might live there next.
          await wire(t, { silent: true, port: Number(dead.split(':')[1]) });
          // A query tells those it remembers to have named the node; the next one meets the others.
          for (let left = await listing(), before; left.length > 0; left = await listing()) {
            assert.notEqual(left.length, before, `still listed by ${left}`);
            before = left.length;
            await witness.lookup({ bootstrap: small.bootstrap, topic: randomBytes(32).toString('hex') });
            await client.fence(small.nodes[0], FOUR_PINGS_MS);
          }
        });
      }
    });
  }
});
