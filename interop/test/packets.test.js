// Requests that every dht-rpc node answers, byte by byte; D numbers are those of the conformance scenarios.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';

import { byDistance, id } from '../lib/addresses.js';
import { COMMAND, ERROR, INTERNAL, RESPONSE } from '../lib/packets.js';
import { defectOfReference } from '../lib/sides.js';
import { network, oneNode, wire } from '../lib/stage.js';

const PING = { internal: true, command: INTERNAL.PING };
const findNode = (target) => ({ internal: true, command: INTERNAL.FIND_NODE, target });
const lookup = (fields = {}) => ({ command: COMMAND.LOOKUP, target: randomBytes(32), ...fields });

function tokenOf(reply) {
  assert.equal(reply.token?.length, 32, 'a token');
  return reply.token;
}

const bounded = { timeout: 30_000 };

describe('packets', { concurrency: 4 }, () => {
  test('a ping is answered with the id of the node and the address of who asked', bounded, async (t) => {
    const { node, client } = await oneNode(t);
    const pong = await client.request(node, PING);
    assert.equal(pong.to, client.address);
    assert.deepEqual(pong.id, id(node));
    assert.deepEqual([pong.token, pong.closer, pong.error, pong.value], [null, null, 0, null]);
    assert.equal(pong.bytes.length, 42);
  });

  test('D1: a wrong id is ignored, the ping answered', bounded, async (t) => {
    const { node, client } = await oneNode(t);
    const stranger = randomBytes(32);
    await client.request(node, { ...PING, id: stranger });
    await client.fence(node);
    for (const target of [stranger, client.id]) {
      const { closer } = await client.request(node, findNode(target));
      assert.ok(!closer.includes(client.address), 'listed by its address');
    }
  });

  test('D2: who sends its right id is listed', bounded, async (t) => {
    const { node, client } = await oneNode(t);
    await client.request(node, { ...PING, id: client.id });
    await client.fence(node);
    const { closer } = await client.request(node, findNode(client.id));
    assert.ok(closer.includes(client.address), `only ${closer}`);
  });

  test('D3: unknown flags and trailing bytes change nothing', bounded, async (t) => {
    const { node, client } = await oneNode(t);
    const pong = await client.request(node, { ...PING, extraFlags: 0xe0, trailing: randomBytes(9) });
    assert.equal(pong.to, client.address);
  });

  test('D4: what is no request is met with silence, and the node lives on', bounded, async (t) => {
    const { node, client } = await oneNode(t);
    const truncated = Buffer.from([0x03, 0x04, 1, 2, 127, 0, 0, 1, 9]);
    const unsolicited = Buffer.concat([Buffer.from([RESPONSE, 0, 1, 2]), Buffer.alloc(6)]);
    const otherVersion = Buffer.concat([Buffer.from([0x02, 0x04, 1, 2]), Buffer.alloc(7)]);
    const halfAnId = Buffer.concat([Buffer.from([0x03, 0x05, 1, 2]), Buffer.alloc(20)]);
    const nothing = Buffer.alloc(0);
    for (const bytes of [truncated, unsolicited, otherVersion, halfAnId, nothing, Buffer.from([0x03])]) {
      client.send(bytes, node);
    }
    await client.fence(node);
    assert.deepEqual(client.kept, []);
    const { closer } = await client.request(node, findNode(client.id));
    assert.ok(!closer.includes(client.address), 'left a trace in the table');
  });

  test('D6: find node lists exactly 20 of many, each alive', { timeout: 60_000 }, async (t) => {
    const { nodes } = await network(t, 40);
    const client = await wire(t);
    const { closer } = await client.request(nodes[0], findNode(randomBytes(32)));
    assert.equal(closer.length, 20);
    assert.equal(new Set(closer).size, 20, 'no address twice');
    assert.ok(!closer.includes(nodes[0]), 'not itself');
    await Promise.all(closer.map((address) => client.request(address, PING)));
  });

  const rowOrder = defectOfReference('it lists whole rows of its table, near or not');
  test('D6: of the nodes it knows, find node lists the closest', { timeout: 60_000, ...rowOrder }, async (t) => {
    const { nodes } = await network(t, 40);
    const client = await wire(t);
    const lists = [];
    for (let i = 0; i < 100; i++) {
      const target = randomBytes(32);
      const { closer } = await client.request(nodes[0], findNode(target));
      lists.push({ target, closer });
    }
    // Enough targets to have seen the whole table.
    const known = [...new Set(lists.flatMap(({ closer }) => closer))];
    assert.ok(known.length > 25, `knows ${known.length}`);
    for (const { target, closer } of lists) {
      const truth = known.toSorted(byDistance(target)).slice(0, 20);
      const overlap = closer.filter((address) => truth.includes(address)).length;
      assert.ok(overlap >= 18, `${overlap} of the 20 closest`);
    }
  });

  test('D8: a token is good from another port of the same host', bounded, async (t) => {
    const { node, client } = await oneNode(t);
    const neighbour = await wire(t);
    const token = tokenOf(await client.request(node, lookup()));
    const reply = await neighbour.request(node, lookup({ token }));
    assert.equal(reply.error, 0);
  });

  test('a wrong token is refused with error 2 and a fresh one', bounded, async (t) => {
    const { node, client } = await oneNode(t);
    const refused = await client.request(node, lookup({ token: randomBytes(32) }));
    assert.equal(refused.error, ERROR.INVALID_TOKEN);
    assert.equal(refused.value, null);
    assert.ok(refused.closer.length > 0);
    const accepted = await client.request(node, lookup({ token: tokenOf(refused) }));
    assert.equal(accepted.error, 0);
  });

  test('a token lives between 7.5 and 15 s', bounded, async (t) => {
    const { node, client } = await oneNode(t);
    const first = await client.request(node, lookup());
    const token = tokenOf(first);
    let reply;
    do {
      await client.fence(node, 500);
      reply = await client.request(node, lookup({ token }));
    } while (reply.error === 0);
    assert.equal(reply.error, ERROR.INVALID_TOKEN);
    assert.notDeepEqual(tokenOf(reply), token);
    const lived = (reply.at - first.at) / 1_000;
    assert.ok(lived > 7.0, `only ${lived} s`);
    assert.ok(lived < 17, `still good after ${lived} s`);
  });

  test('D9: an unknown command is error 1 with closer nodes and no token', bounded, async (t) => {
    const { node, client } = await oneNode(t);
    for (const internal of [false, true]) {
      const reply = await client.request(node, { internal, command: 200, target: randomBytes(32) });
      assert.equal(reply.error, ERROR.UNKNOWN_COMMAND);
      assert.equal(reply.token, null);
      assert.ok(reply.closer.length > 0);
      const aimless = await client.request(node, { internal, command: 200 });
      assert.equal(aimless.error, ERROR.UNKNOWN_COMMAND);
      assert.equal(aimless.closer, null);
    }
  });

  test('D10: a delayed ping is answered after the delay, above 10 s never', bounded, async (t) => {
    const { node, client } = await oneNode(t);
    const delayed = (ms) => {
      const value = Buffer.alloc(4);
      value.writeUInt32LE(ms);
      return { internal: true, command: INTERNAL.DELAYED_PING, value };
    };
    const sent = performance.now();
    const tooLong = client.post(node, delayed(10_001));
    const short = await client.request(node, delayed(300));
    assert.ok(short.at - sent >= 295, `after ${short.at - sent} ms`);
    assert.ok(short.at - sent < 3_000, `after ${short.at - sent} ms`);
    const long = await client.request(node, delayed(10_000), { within: 12_000 });
    assert.ok(long.at - sent >= 9_995, `after ${long.at - sent} ms`);
    await client.fence(node, 500);
    assert.ok(!client.kept.some((packet) => packet.tid === tooLong));
    assert.ok(await client.silence(node, { ...delayed(300), value: Buffer.alloc(3) }));
  });

  test('ping-nat is answered to the port it names', bounded, async (t) => {
    const { node, client } = await oneNode(t);
    const named = await wire(t);
    const value = Buffer.alloc(2);
    value.writeUInt16LE(named.port);
    const tid = client.post(node, { internal: true, command: INTERNAL.PING_NAT, value });
    const pong = await named.next((packet) => packet.kind === 'response' && packet.tid === tid);
    assert.equal(pong.from, node);
    assert.equal(pong.to, named.address);
    await client.fence(node);
    assert.deepEqual(client.kept, [], 'and to no other');
    for (const value of [Buffer.alloc(2), Buffer.alloc(1), null]) {
      assert.ok(await client.silence(node, { internal: true, command: INTERNAL.PING_NAT, value }));
    }
  });

  test('find node without a target and a hint without an address are met with silence', bounded, async (t) => {
    const { node, client } = await oneNode(t);
    assert.ok(await client.silence(node, { internal: true, command: INTERNAL.FIND_NODE }));
    assert.ok(await client.silence(node, { internal: true, command: INTERNAL.DOWN_HINT, value: Buffer.alloc(5) }));
  });
});
