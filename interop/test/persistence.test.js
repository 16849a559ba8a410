// A node becomes one that others list only after a stranger's answer reached the socket it would be listed
// with (D15, D16); here the stranger is the test.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { id } from '../lib/addresses.js';
import { INTERNAL } from '../lib/packets.js';
import { reference, subject } from '../lib/sides.js';
import { wire } from '../lib/stage.js';

const bounded = { timeout: 30_000 };

const isPingNat = ({ kind, internal, command }) => kind === 'request' && internal && command === INTERNAL.PING_NAT;
const claimsId = (packet) => packet.kind === 'request' && packet.id !== null;

describe('becoming persistent', { concurrency: 4 }, () => {
  for (const side of [reference, subject]) {
    test(`a ${side.name} node that is reachable gets its id from its address`, bounded, async (t) => {
      const stranger = await wire(t);
      stranger.serve((request) => {
        if (!isPingNat(request)) return { id: stranger.id };
        const port = request.value.readUInt16LE();
        stranger.respond({ ...request, from: `127.0.0.1:${port}` }, { id: stranger.id });
        return null;
      });
      const node = await side.startPersistentNode({ bootstrap: [stranger.address] });
      t.after(() => node.close());
      const asked = await stranger.next(isPingNat);
      const server = `127.0.0.1:${asked.value.readUInt16LE()}`;
      assert.notEqual(asked.from, server, 'asked from the other socket');
      assert.equal(asked.id, null);
      const listed = await stranger.next(claimsId, { within: 10_000 });
      assert.equal(listed.from, server);
      assert.deepEqual(listed.id, id(server));
    });

    test(`a ${side.name} node that nothing reaches claims no id`, bounded, async (t) => {
      const stranger = await wire(t);
      stranger.serve((request) => (isPingNat(request) ? null : { id: stranger.id }));
      const node = await side.startPersistentNode({ bootstrap: [stranger.address] });
      t.after(() => node.close());
      await stranger.next(isPingNat);
      await node.ready();
      const pong = await stranger.request(node.server, { internal: true, command: INTERNAL.PING });
      assert.equal(pong.id, null);
      assert.deepEqual(stranger.kept.filter(claimsId), []);
    });
  }
});
