// A node that others report as dead leaves the replies if it is (D11), and a query reports the dead it meets.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';

import { id, sixBytes } from '../lib/addresses.js';
import { INTERNAL } from '../lib/packets.js';
import { defectOfReference, reference, subject } from '../lib/sides.js';
import { oneNode, wire } from '../lib/stage.js';

const PING = { internal: true, command: INTERNAL.PING };
const hint = (address) => ({ internal: true, command: INTERNAL.DOWN_HINT, value: sixBytes(address) });
const isHint = (packet) => packet.kind === 'request' && packet.internal && packet.command === INTERNAL.DOWN_HINT;

async function lists(client, node, address) {
  const { closer } = await client.request(node, { internal: true, command: INTERNAL.FIND_NODE, target: id(address) });
  return closer?.includes(address) ?? false;
}

describe('down hints', { concurrency: 4 }, () => {
  test('D11: a dead node that is hinted at leaves the replies', { timeout: 30_000 }, async (t) => {
    const { node, client } = await oneNode(t);
    const dead = await wire(t);
    await dead.request(node, { ...PING, id: dead.id });
    await dead.fence(node);
    assert.ok(await lists(client, node, dead.address));
    const { address } = dead;
    dead.mute();

    const hinted = await client.request(node, hint(address));
    assert.equal(hinted.error, 0);
    assert.equal(hinted.token, null);
    // Four pings, a second apart, and the wait for the last one.
    while (await lists(client, node, address)) {
      await client.fence(node, 250);
      assert.ok(performance.now() - hinted.at < 8_000, 'still listed after 8 s');
    }
    assert.ok(performance.now() - hinted.at > 2_500, 'dropped without a fair hearing');
  });

  // The reference counts time in ticks of 5 s, and drops a live node that it already heard in the same tick.
  const drops = defectOfReference('a live node heard twice in one tick is dropped');
  test('D11: a live node that is hinted at is asked, and stays', { timeout: 30_000, ...drops }, async (t) => {
    const { node, client } = await oneNode(t);
    const live = await wire(t);
    await live.request(node, { ...PING, id: live.id });
    await live.fence(node);
    assert.ok(await lists(client, node, live.address));
    const sent = performance.now();
    await client.request(node, hint(live.address));
    await live.next((packet) => packet.kind === 'request' && packet.command === INTERNAL.PING && packet.at >= sent);
    // A pong that the node did not count would cost the place four seconds after the first ping.
    await client.fence(node, 4_500);
    assert.ok(await lists(client, node, live.address));
  });

  for (const side of [reference, subject]) {
    test(`a ${side.name} query asks a silent node several times, then tells who named it`, { timeout: 30_000 }, async (t) => {
      const referrer = await wire(t);
      const dead = await wire(t, { silent: true });
      const told = referrer.next(isHint, { within: 15_000 });
      const node = side.startJoining({ bootstrap: [referrer.address] });
      t.after(() => node.close());
      const first = await referrer.next((packet) => packet.kind === 'request' && packet.target);
      const answer = { id: referrer.id, closer: [dead.address], token: randomBytes(32) };
      referrer.respond(first, answer);
      const { value } = await told;
      assert.deepEqual(value, sixBytes(dead.address));
      // The reference sends six times, a second apart; a Rust walk gives up sooner (docs/adr/002), never lightly.
      const sent = dead.kept.filter((packet) => packet.tid === dead.kept[0].tid);
      assert.ok(sent.length >= 4 && sent.length <= 6, `asked ${sent.length} times`);
      const took = sent.at(-1).at - sent[0].at;
      assert.ok(took > 1_000 && took < 9_000, `in ${took} ms`);
    });
  }
});
