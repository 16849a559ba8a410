// Announce, look up, put and get both ways with the Mainline DHT of others, on loopback.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import DHT11 from 'bittorrent-dht';
import DHT7 from 'bittorrent-dht7';
import channels from 'discovery-channel';

import { Homing, run } from '../lib/homing.js';
import { againstItself } from '../lib/sides.js';

const bounded = { timeout: 40_000 };
const sha1 = (bytes) => createHash('sha1').update(bytes).digest();

/** Our network of eight nodes. */
async function testnet() {
  const network = new Homing(['testnet', '8', '--network', 'mainline']);
  const { bootstrap, nodes } = await network.event('ready');
  return { network, bootstrap, nodes };
}

function listen(dht) {
  return new Promise((resolve, reject) => {
    dht.once('error', reject);
    dht.listen(0, '127.0.0.1', () => resolve(dht));
  });
}

const ready = (dht) => (dht.ready ? Promise.resolve() : once(dht, 'ready'));
const call = (dht, name, ...args) =>
  new Promise((resolve, reject) => dht[name](...args, (error, value) => (error ? reject(error) : resolve(value))));

/** The first peer that a look-up of the JavaScript node finds. */
async function found(dht, infoHash) {
  const peer = new Promise((resolve) => dht.on('peer', (peer, hash) => hash.equals(infoHash) && resolve(peer)));
  dht.lookup(infoHash);
  const { host, port } = await peer;
  return `${host}:${port}`;
}

for (const [name, Class] of [
  ['bittorrent-dht 11', DHT11],
  ['bittorrent-dht 7', DHT7],
]) {
  describe(name, { skip: againstItself, timeout: 120_000 }, () => {
    let ours;
    let theirs;
    before(async () => {
      ours = await testnet();
      theirs = await listen(new Class({ bootstrap: ours.bootstrap, host: '127.0.0.1' }));
      await ready(theirs);
    });
    after(async () => {
      await call(theirs, 'destroy');
      await ours.network.close();
    });

    test('what it announces on our network, we find', bounded, async () => {
      const topic = `theirs ${name}`;
      await call(theirs, 'announce', sha1(topic), 9001);
      const { code, one } = await run(['lookup', topic, '--on', 'mainline'], ours);
      assert.equal(code, 0);
      assert.deepEqual([one('peer').host, one('peer').port], ['127.0.0.1', 9001]);
    });

    test('what we announce, it finds', bounded, async (t) => {
      const topic = `ours ${name}`;
      const us = new Homing(['announce', topic, '--port', '9002', '--on', 'mainline'], ours);
      t.after(() => us.close());
      assert.ok((await us.event('announced')).stored >= 8);
      assert.equal(await found(theirs, sha1(topic)), '127.0.0.1:9002');
    });

    test('our nodes enter its table and answer its pings', bounded, async () => {
      assert.ok(theirs.toJSON().nodes.length >= 8, `${theirs.toJSON().nodes.length} nodes`);
    });

    test('values go both ways', bounded, async () => {
      const theirValue = `value of ${name}`;
      const target = await call(theirs, 'put', { v: Buffer.from(theirValue) });
      const { one } = await run(['get', '--mainline', target.toString('hex')], ours);
      assert.equal(one('value').value, theirValue);

      const stored = (await run(['put', `ours for ${name}`, '--on', 'mainline'], ours)).one('stored');
      const got = await call(theirs, 'get', Buffer.from(stored.target, 'hex'));
      assert.equal(got.v.toString(), `ours for ${name}`);
    });
  });

  describe(`a network of ${name}`, { skip: againstItself, timeout: 120_000 }, () => {
    const nodes = [];
    let bootstrap;
    before(async () => {
      const first = await listen(new Class({ bootstrap: false, host: '127.0.0.1' }));
      nodes.push(first);
      bootstrap = [`127.0.0.1:${first.address().port}`];
      for (let n = 1; n < 6; n++) nodes.push(await listen(new Class({ bootstrap, host: '127.0.0.1' })));
      await Promise.all(nodes.slice(1).map(ready));
    });
    after(() => Promise.all(nodes.map((node) => call(node, 'destroy'))));

    test('serves us as ours serves it', bounded, async (t) => {
      const topic = `on ${name}`;
      const us = new Homing(['announce', topic, '--port', '9003', '--on', 'mainline'], { bootstrap });
      t.after(() => us.close());
      assert.ok((await us.event('announced')).stored >= 5);
      assert.equal(await found(nodes[3], sha1(topic)), '127.0.0.1:9003');
      await call(nodes[4], 'announce', sha1(topic), 9004);
      const { all } = await run(['lookup', topic, '--on', 'mainline'], { bootstrap });
      assert.deepEqual(all('peer').map((peer) => peer.port).sort(), [9003, 9004]);
    });
  });
}

describe('discovery-channel', { skip: againstItself, timeout: 120_000 }, () => {
  let ours;
  before(async () => {
    ours = await testnet();
  });
  after(() => ours.network.close());

  function channel(t) {
    const channel = channels({ dns: false, dht: { bootstrap: ours.bootstrap } });
    t.after(() => channel.destroy());
    return channel;
  }

  test('join(topic, port) is found by us', bounded, async (t) => {
    const topic = 'a tool-db server';
    const joined = channel(t);
    await new Promise((resolve) => joined.join(topic, 9005, undefined, resolve));
    const watch = new Homing(['lookup', topic, '--on', 'mainline', '--watch'], ours);
    t.after(() => watch.close());
    const { host, port, source } = await watch.event('peer');
    assert.deepEqual([host, port, source], ['127.0.0.1', 9005, 'dht']);
  });

  test('join(topic) finds what we announce', bounded, async (t) => {
    const topic = 'our server';
    const us = new Homing(['announce', topic, '--port', '9006', '--on', 'mainline'], ours);
    t.after(() => us.close());
    await us.event('announced');
    const joined = channel(t);
    joined.join(topic);
    const [, peer] = await once(joined, 'peer');
    assert.deepEqual([peer.host, peer.port], ['127.0.0.1', 9006]);
  });
});

const environment = join(dirname(fileURLToPath(import.meta.url)), '..', 'node_modules', '.libtorrent');

/** A Python that has libtorrent, in an environment beside the Node packages; a reason where there is none. */
function python() {
  const inside = join(environment, 'bin', 'python');
  try {
    if (!existsSync(inside)) execFileSync('python3', ['-m', 'venv', environment], { stdio: 'pipe' });
    try {
      execFileSync(inside, ['-c', 'import libtorrent'], { stdio: 'pipe' });
    } catch {
      execFileSync(inside, ['-m', 'pip', 'install', '--quiet', 'libtorrent==2.1.1'], { stdio: 'pipe' });
    }
    return { inside };
  } catch (error) {
    if (error.code === 'ENOENT') return { missing: 'there is no python3' };
    throw error;
  }
}

const { inside, missing } = againstItself ? { missing: 'needs our binary' } : python();

describe('libtorrent', { skip: missing ?? false, timeout: 120_000 }, () => {
  let ours;
  let child;
  let lines;
  before(async () => {
    ours = await testnet();
    child = spawn(inside, [fileURLToPath(new URL('../lib/torrent_node.py', import.meta.url)), ...ours.bootstrap]);
    lines = createInterface({ input: child.stdout });
    child.stderr.pipe(process.stderr);
    assert.deepEqual(await once(lines, 'line'), ['ready']);
  });
  after(async () => {
    child?.stdin.end();
    if (child?.exitCode === null) await once(child, 'exit');
    await ours.network.close();
  });

  async function ask(...words) {
    const answer = once(lines, 'line');
    child.stdin.write(`${words.join(' ')}\n`);
    return (await answer)[0];
  }

  test('what it announces, we find', bounded, async (t) => {
    const topic = 'of libtorrent';
    assert.equal(await ask('announce', sha1(topic).toString('hex'), 9007), 'done');
    const watch = new Homing(['lookup', topic, '--on', 'mainline', '--watch'], ours);
    t.after(() => watch.close());
    assert.equal((await watch.event('peer')).port, 9007);
  });

  test('what we announce, it finds', bounded, async (t) => {
    const topic = 'for libtorrent';
    const us = new Homing(['announce', topic, '--port', '9008', '--on', 'mainline'], ours);
    t.after(() => us.close());
    await us.event('announced');
    assert.equal(await ask('lookup', sha1(topic).toString('hex')), '127.0.0.1:9008');
  });

  test('values go both ways', bounded, async () => {
    const target = await ask('put', 'written-by-libtorrent');
    const { one, lines: said } = await run(['get', '--mainline', target], ours);
    assert.equal(one('value')?.value, 'written-by-libtorrent', JSON.stringify([target, said]));
    const stored = (await run(['put', 'written-by-us', '--on', 'mainline'], ours)).one('stored');
    assert.equal(await ask('get', stored.target), 'written-by-us');
  });
});
