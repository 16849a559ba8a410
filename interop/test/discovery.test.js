// npm discovery-channel and dns-discovery, as Tool Db's guide uses them, and Homing find each other over multicast
// DNS and over servers. Everything stays on loopback: the reference is told its interface, and has no DHT here.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { test } from 'node:test';

import discoveryChannel from 'discovery-channel';
import dnsDiscovery from 'dns-discovery';
import multicastDns from 'multicast-dns';

import { Homing } from '../lib/homing.js';
import { againstItself } from '../lib/sides.js';

const bounded = { timeout: 30_000, skip: againstItself && 'it has no commands' };
const LOCAL = ['--host', '127.0.0.1', '--until-stdin-closes'];
const freshTopic = () => `topic ${randomBytes(8).toString('hex')}`;
const freshPort = () => 20_000 + randomBytes(2).readUInt16BE() % 10_000;

function channel(t, dns) {
  const opened = discoveryChannel({ dht: false, dns });
  t.after(() => new Promise((resolve) => opened.destroy(resolve)));
  return opened;
}

/** discovery-channel on the local network of this computer only. */
function onLoopback(t) {
  const multicast = multicastDns({ bind: '0.0.0.0', interface: '127.0.0.1' });
  return channel(t, { multicast });
}

function homing(t, args) {
  const command = new Homing([...args, ...LOCAL]);
  t.after(() => command.close());
  return command;
}

/** The first peer at this port. */
function peerAt(found, port) {
  return new Promise((resolve) => {
    found.on('peer', (id, peer) => {
      if (peer.port === port) resolve({ id: id.toString(), peer });
    });
  });
}

async function lineAt(command, port) {
  for (;;) {
    const line = await command.event('peer');
    if (line.port === port) return line;
  }
}

/** A server of dns-discovery, and its address. */
async function nameServer(t) {
  const server = dnsDiscovery({ multicast: false });
  const port = 30_000 + randomBytes(2).readUInt16BE() % 10_000;
  server.listen(port);
  await once(server, 'listening');
  t.after(() => new Promise((resolve) => server.destroy(resolve)));
  return `127.0.0.1:${port}`;
}

test('a passive discovery-channel finds a Rust announcer over multicast DNS', bounded, async (t) => {
  const [topic, port] = [freshTopic(), freshPort()];
  const announcer = homing(t, ['announce', topic, '--port', `${port}`, '--on', 'mdns', '--compatible']);
  await announcer.event('announced');
  const client = onLoopback(t);
  const found = peerAt(client, port);
  client.join(topic);
  assert.deepEqual(await found, { id: topic, peer: { host: '127.0.0.1', port } });
});

test('a Rust watcher finds a discovery-channel server over multicast DNS, once', bounded, async (t) => {
  const [topic, port] = [freshTopic(), freshPort()];
  const server = onLoopback(t);
  server.join(topic, port);
  const watcher = homing(t, ['lookup', topic, '--watch', '--on', 'mdns', '--compatible']);
  const line = await lineAt(watcher, port);
  assert.deepEqual([line.source, line.host], ['mdns', '127.0.0.1']);
  // Its answers to the next questions, of others too, are no news.
  const other = homing(t, ['lookup', topic, '--watch', '--on', 'mdns', '--compatible']);
  await lineAt(other, port);
  assert.equal(watcher.lines.filter((printed) => printed.port === port).length, 1);
});

test('a Rust server and a discovery-channel server find each other, whoever came first', bounded, async (t) => {
  const [topic, rust, script, late] = [freshTopic(), freshPort(), freshPort() + 10_000, freshPort() + 20_000];
  const first = homing(t, ['announce', topic, '--port', `${rust}`, '--on', 'mdns', '--compatible']);
  await first.event('announced');
  const server = onLoopback(t);
  const found = [peerAt(server, rust), peerAt(server, late)];
  server.join(topic, script);
  assert.equal((await lineAt(first, script)).host, '127.0.0.1');
  const second = homing(t, ['announce', topic, '--port', `${late}`, '--on', 'mdns', '--compatible']);
  assert.equal((await lineAt(second, script)).host, '127.0.0.1');
  assert.equal((await found[0]).peer.host, '127.0.0.1');
  // The reference asks again after a minute only; it hears the answer to the Rust server's question.
  assert.equal((await found[1]).peer.host, '127.0.0.1');
});

test('a keyed topic is told to no discovery-channel', bounded, async (t) => {
  const [topic, port] = [freshTopic(), freshPort()];
  const announcer = homing(t, ['announce', topic, '--port', `${port}`, '--on', 'mdns']);
  await announcer.event('announced');
  const client = onLoopback(t);
  let heard = 0;
  client.on('peer', () => (heard += 1));
  client.join(topic);
  // Another Rust program finds it, by which time the reference would have too.
  const watcher = homing(t, ['lookup', topic, '--watch', '--on', 'mdns']);
  await lineAt(watcher, port);
  assert.equal(heard, 0);
});

test('both find each other through servers of dns-discovery', bounded, async (t) => {
  const servers = [await nameServer(t), await nameServer(t)];
  const [topic, rust, script] = [freshTopic(), freshPort(), freshPort() + 10_000];
  const dns = ['--on', 'dns', '--compatible', ...servers.flatMap((server) => ['--dns-server', server])];
  const announcer = homing(t, ['announce', topic, '--port', `${rust}`, ...dns]);
  assert.equal((await announcer.event('announced')).answered, true);
  const server = channel(t, { multicast: false, servers });
  const found = peerAt(server, rust);
  server.join(topic, script);
  assert.equal((await found).peer.host, '127.0.0.1');
  // The servers push the news to the announcer, who does not ask again so soon.
  const line = await lineAt(announcer, script);
  assert.deepEqual([line.source, line.host], ['dns', '127.0.0.1']);

  // What is taken back is gone from the servers.
  assert.equal(await announcer.stop(), 0);
  const late = channel(t, { multicast: false, servers });
  const ports = new Set();
  late.on('peer', (_, peer) => ports.add(peer.port));
  await new Promise((resolve) => late.join(topic, undefined, resolve));
  assert.deepEqual([...ports], [script]);
});

test('discovery-channel and a Rust channel over Mainline and the local network find each other on both', bounded, async (t) => {
  const network = new Homing(['testnet', '8', '--network', 'mainline', '--until-stdin-closes']);
  t.after(() => network.close());
  const { bootstrap } = await network.event('ready');
  const [topic, rust, script] = [freshTopic(), freshPort(), freshPort() + 10_000];
  const on = ['--on', 'mainline,mdns', '--compatible', '--bootstrap', bootstrap[0]];
  const announcer = homing(t, ['announce', topic, '--port', `${rust}`, ...on]);
  const announced = new Set();
  while (announced.size < 2) {
    const line = await announcer.event('announced');
    assert.equal(line.answered, true);
    announced.add(line.source);
  }

  const multicast = multicastDns({ bind: '0.0.0.0', interface: '127.0.0.1' });
  const server = discoveryChannel({ dht: { bootstrap }, dns: { multicast } });
  t.after(() => new Promise((resolve) => server.destroy(resolve)));
  const heard = new Promise((resolve) => {
    const by = new Set();
    server.on('peer', (_, peer, via) => {
      if (peer.port === rust) by.add(via);
      // The reference calls multicast DNS `dns` too.
      if (by.has('dht') && by.has('dns')) resolve(by);
    });
  });
  await new Promise((resolve) => server.join(topic, script, resolve));
  await heard;

  const watcher = homing(t, ['lookup', topic, '--watch', ...on]);
  const found = [await lineAt(watcher, script), await lineAt(watcher, script)];
  assert.deepEqual(found.map((line) => line.source).toSorted(), ['mainline', 'mdns']);
});
