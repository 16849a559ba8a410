// Tool Db servers and clients that share a topic and no address: over Mainline with the library's guide as it stands,
// over Hyperswarm, over the local network.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';

import discoveryChannel from 'discovery-channel';
import multicastDns from 'multicast-dns';

import { Homing, run } from '../lib/homing.js';
import { againstItself, reference } from '../lib/sides.js';
import { arrives, client, node, serve, swarmer, until, welcomed } from '../lib/tooldb.js';

const bounded = { timeout: 60_000 };
const SOON_MS = 20_000;
const freshTopic = () => `topic ${randomBytes(8).toString('hex')}`;
const freshPort = () => 20_000 + randomBytes(2).readUInt16BE() % 10_000;
const entering = (bootstrap) => bootstrap.flatMap((address) => ['--bootstrap', address]);

async function mainline(t) {
  const network = new Homing(['testnet', '8', '--network', 'mainline', '--until-stdin-closes']);
  t.after(() => network.close());
  return (await network.event('ready')).bootstrap;
}

async function hyper(t) {
  const network = await reference.startNetwork({ size: 6 });
  t.after(() => network.close());
  return network.bootstrap;
}

function channelOf(t, options) {
  const channel = discoveryChannel(options);
  t.after(() => new Promise((resolve) => channel.destroy(resolve)));
  return channel;
}

/** A server as the guide has it: `join` of a discovery-channel with its port, `connectTo` for whom it finds. */
async function guideServer(t, channel, topic, port) {
  const server = await node(t, { server: true, listen: port, topic });
  channel.join(topic, port);
  channel.on('peer', (id, peer) => {
    if (peer.port !== port) server.network.connectTo(peer.host, peer.port);
  });
  return server;
}

/** A client as the guide has it. */
async function guideClient(t, channel, topic) {
  const db = await node(t, { topic });
  const discovered = [];
  channel.join(topic);
  channel.on('peer', (id, peer) => {
    const key = `${peer.host}:${peer.port}`;
    if (discovered.includes(key)) return;
    discovered.push(key);
    db.network.connectTo(peer.host, peer.port);
  });
  return { db, discovered };
}

async function assertExchange(one, other) {
  await one.anonSignIn();
  await other.anonSignIn();
  await one.putData('from one', 1);
  await other.putData('from other', 2);
  await arrives(other, 'from one', 1);
  await arrives(one, 'from other', 2);
}

describe('databases that meet by topic only', { skip: againstItself, timeout: 240_000 }, () => {
  test('a script with channel.join(topic, port) on Mainline and ours find each other, and a passive client both', bounded, async (t) => {
    const bootstrap = await mainline(t);
    const [topic, port] = [freshTopic(), freshPort()];
    const ours = await serve(t, { args: ['--topic', topic, '--dht=mainline', ...entering(bootstrap)] });
    const open = () => channelOf(t, { dns: false, dht: { bootstrap } });
    await guideServer(t, open(), topic, port);
    const { role, over } = await ours.command.event('connected');
    assert.deepEqual([role, over], ['server', 'websocket']);

    const { db, discovered } = await guideClient(t, open(), topic);
    await until(() => db.network.sockets.size >= 2, SOON_MS, 'both servers');
    assert.deepEqual(discovered.toSorted(), [`127.0.0.1:${port}`, `127.0.0.1:${ours.port}`].toSorted());
    await welcomed(db);
    await assertExchange(db, await client(t, ours.port, { topic }));

    // Ours is a passive client too, and finds both.
    const { one } = await run(['db', 'get', 'from one', '--topic', topic, '--dht=mainline', ...entering(bootstrap)]);
    assert.equal(one('value').value, 1);
  });

  test('a script on multicast DNS and ours with --lan find each other', bounded, async (t) => {
    const [topic, port] = [freshTopic(), freshPort()];
    const ours = await serve(t, { args: ['--topic', topic, '--lan'] });
    const channel = channelOf(t, { dht: false, dns: { multicast: multicastDns({ bind: '0.0.0.0', interface: '127.0.0.1' }) } });
    const theirs = await guideServer(t, channel, topic, port);
    await ours.command.event('connected');
    await until(() => theirs.network.sockets.size > 0, SOON_MS, 'a connection');
  });

  test('a server of the library on Hyperswarm and ours exchange what is written to either', bounded, async (t) => {
    const bootstrap = await hyper(t);
    const topic = freshTopic();
    const ours = await serve(t, { args: ['--topic', topic, '--dht=hyper', '--host', 'localhost', ...entering(bootstrap)] });
    const theirs = await swarmer(t, bootstrap, { topic, server: true });
    const { role, over } = await ours.command.event('connected');
    assert.deepEqual([role, over], ['server', 'swarm']);
    await assertExchange(theirs, await client(t, ours.port, { topic }));
  });

  test('two servers and a client meet on both networks; one dies and comes back, and nothing is lost', bounded, async (t) => {
    const bootstrap = [...(await hyper(t)), ...(await mainline(t))];
    const met = ['--topic', 'met by topic', '--dht', ...entering(bootstrap)];
    const one = await serve(t, { args: met });
    const two = await serve(t, { args: met });
    await Promise.all([one, two].map(({ command }) => command.event('connected')));
    const { one: line } = await run(['db', 'put', 'greeting', 'hi', ...met]);
    assert.equal(line('kept').confirmed, 'kept');
    const reader = (port) => client(t, port, { topic: 'met by topic' });
    for (const { port } of [one, two]) await arrives(await reader(port), 'greeting', 'hi');

    await two.command.stop({ signal: 'SIGKILL' }).catch(() => {});
    assert.equal((await run(['db', 'put', 'meanwhile', 'there', ...met])).one('kept').confirmed, 'kept');
    const back = await serve(t, { args: met, directory: two.directory });
    await back.command.event('connected');
    const last = await reader(back.port);
    await arrives(last, 'meanwhile', 'there');
    await arrives(last, 'greeting', 'hi');

    // A page finds the servers that live, and no others.
    const listed = await until(async () => {
      const answer = await fetch(`http://127.0.0.1:${one.port}/servers`);
      assert.equal(answer.headers.get('access-control-allow-origin'), '*');
      const servers = await answer.json();
      return servers.some(({ port }) => port === back.port) && servers;
    }, SOON_MS, 'the server that came back');
    const expected = [one.port, back.port].map((port) => ({ host: '127.0.0.1', port, ssl: false }));
    assert.deepEqual(listed.toSorted((a, b) => a.port - b.port), expected.toSorted((a, b) => a.port - b.port));
  });
});
