// The commands of the binary against a network of the reference, as scripts and people use them.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';

import { id } from '../lib/addresses.js';
import { Homing, run } from '../lib/homing.js';
import { COMMAND, ERROR } from '../lib/packets.js';
import { againstItself, reference } from '../lib/sides.js';
import { keyPair } from '../lib/signed.js';
import { wire } from '../lib/stage.js';

const hex = () => randomBytes(32).toString('hex');
const bounded = { timeout: 30_000 };
const PROMPT_MS = 2_000;

describe('commands', { skip: againstItself, timeout: 120_000 }, () => {
  let bootstrap;
  let network;
  before(async () => {
    network = await reference.startNetwork({ size: 8 });
    ({ bootstrap } = network);
  });
  after(() => network?.close());

  function start(t, args) {
    const command = new Homing(args, { bootstrap });
    t.after(() => command.close());
    return command;
  }

  async function interrupt(command) {
    const asked = performance.now();
    const code = await command.stop({ signal: 'SIGINT' });
    assert.ok(performance.now() - asked < PROMPT_MS, `ended after ${performance.now() - asked} ms`);
    return code;
  }

  test('ping says who answered and what address it saw', bounded, async () => {
    const [to] = network.nodes;
    const { code, one } = await run(['ping', to], { bootstrap });
    assert.equal(code, 0);
    const pong = one('pong');
    assert.equal(pong.from, to);
    assert.equal(pong.id, id(to).toString('hex'));
    assert.match(pong.seen_as, /^127\.0\.0\.1:\d+$/);
    assert.ok(pong.rtt_ms > 0 && pong.rtt_ms < 4_000, `${pong.rtt_ms} ms`);
  });

  test('D12: a silent address is asked four times, a second apart', bounded, async (t) => {
    const silent = await wire(t, { silent: true });
    const { code } = await run(['ping', silent.address], { bootstrap });
    assert.equal(code, 1);
    const times = silent.kept.map((packet) => packet.at);
    assert.equal(times.length, 4);
    for (const [i, time] of times.slice(1).entries()) {
      const gap = time - times[i];
      assert.ok(gap > 800 && gap < 2_500, `${gap} ms between two`);
    }
  });

  test('Ctrl-C on an announcement takes it back within two seconds', bounded, async (t) => {
    const topic = hex();
    const command = start(t, ['announce', topic, '--seed', hex()]);
    await command.event('announced');
    assert.equal((await reference.lookup({ bootstrap, topic })).size, 1);
    assert.equal(await interrupt(command), 0);
    assert.ok(command.lines.some((line) => line.event === 'unannounced' && line.topic === topic));
    assert.equal((await reference.lookup({ bootstrap, topic })).size, 0);
  });

  test('Ctrl-C ends a node and a search in a silent network within two seconds', bounded, async (t) => {
    const node = start(t, ['--host', '127.0.0.1', '--port', '0', 'node']);
    await node.event('ready');
    assert.equal(await interrupt(node), 0);

    const silent = await wire(t, { silent: true });
    const search = new Homing(['lookup', hex()], { bootstrap: [silent.address] });
    t.after(() => search.close());
    await silent.next((packet) => packet.kind === 'request');
    assert.equal(await interrupt(search), 130);
  });

  test('a network that does not answer is exit code 3', bounded, async (t) => {
    const silent = await wire(t, { silent: true });
    const { code } = await run(['lookup', hex()], { bootstrap: [silent.address] });
    assert.equal(code, 3);
  });

  test('what nobody announced or stored is exit code 1', bounded, async () => {
    for (const args of [['lookup', hex()], ['find-peer', hex()], ['get', hex()], ['get', '--key', hex()]]) {
      assert.equal((await run(args, { bootstrap })).code, 1, args.join(' '));
    }
  });

  test('a command that cannot be understood is exit code 2', bounded, async () => {
    for (const args of [['lookup'], ['ping', 'nowhere'], ['find-peer', 'abc'], ['dance']]) {
      assert.equal((await run(args, { bootstrap })).code, 2, args.join(' '));
    }
  });

  test('a topic in words is its SHA-256, as Hyperswarm applications do', bounded, async (t) => {
    const words = `words ${hex()}`;
    const seed = hex();
    const command = start(t, ['announce', words, '--seed', seed]);
    await command.event('announced');
    const topic = createHash('sha256').update(words).digest('hex');
    const publicKey = keyPair(Buffer.from(seed, 'hex')).publicKey.toString('hex');
    assert.deepEqual([...(await reference.lookup({ bootstrap, topic })).keys()], [publicKey]);
  });

  test('a mutable record without a sequence number goes one further', bounded, async () => {
    const seed = hex();
    const { publicKey } = keyPair(Buffer.from(seed, 'hex'));
    await reference.putMutable({ bootstrap, seed, seq: 41, value: 'before' });
    const { code, one } = await run(['put', 'after', '--seed', seed], { bootstrap });
    assert.equal(code, 0);
    assert.equal(one('stored').seq, 42);
    const record = await reference.getMutable({ bootstrap, publicKey: publicKey.toString('hex') });
    assert.deepEqual(record, { seq: 42, value: 'after' });
  });

  test('unannounce works from another process than the announcement', bounded, async (t) => {
    const topic = hex();
    const seed = hex();
    const announcement = await reference.announce({ bootstrap, topic, seed });
    t.after(() => announcement.close());
    const { code, one } = await run(['unannounce', topic, '--seed', seed], { bootstrap });
    assert.equal(code, 0);
    assert.ok(one('unannounced').removed > 0);
    assert.equal((await reference.lookup({ bootstrap, topic })).size, 0);
  });

  test('a put that every node refuses is not stored: exit code 1', bounded, async (t) => {
    const storing = await wire(t);
    const isPut = ({ internal, command }) => !internal && command === COMMAND.IMMUTABLE_PUT;
    storing.serve((request) => ({
      id: storing.id,
      token: randomBytes(32),
      error: isPut(request) ? ERROR.INVALID_TOKEN : 0,
    }));
    const { code, all } = await run(['put', 'refused'], { bootstrap: [storing.address] });
    assert.equal(code, 1);
    assert.ok(storing.kept.some(isPut));
    assert.deepEqual(
      all('stored').filter(({ stored }) => stored > 0),
      [],
    );
  });
});
