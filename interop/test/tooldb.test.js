// The published library, unmodified, against `homing db serve`.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { run } from '../lib/homing.js';
import { againstItself } from '../lib/sides.js';
import { CounterCrdt, ListCrdt, MapCrdt, arrives, client, node, serve, until, welcomed } from '../lib/tooldb.js';

const bounded = { timeout: 30_000 };
const SOON_MS = 3_000;

describe('the published tool-db library', { skip: againstItself, timeout: 180_000 }, () => {
  test('what one client puts, another gets, in its own space and in everybody’s', bounded, async (t) => {
    const { port } = await serve(t);
    const [alice, bob] = [await client(t, port), await client(t, port)];
    await alice.anonSignIn();
    await alice.putData('greeting', { text: 'hi', list: [1, 2.5, null] });
    await alice.putData('mine', 7, true);
    await arrives(bob, 'greeting', { text: 'hi', list: [1, 2.5, null] });
    const own = alice.getUserNamespacedKey('mine');
    await arrives(bob, own, 7);
    assert.equal(await bob.getData('nobody has this', false, 300), null);
  });

  test('an account made with one client opens with another, and not with a wrong password', bounded, async (t) => {
    const { port } = await serve(t);
    const alice = await client(t, port);
    await alice.anonSignIn();
    await alice.signUp('alice', 'correct horse');
    const elsewhere = await client(t, port);
    await until(() => elsewhere.getData('==alice', false, 500), SOON_MS, 'the account');
    await assert.rejects(elsewhere.signIn('alice', 'wrong horse'));
    await elsewhere.signIn('alice', 'correct horse');
    await elsewhere.putData('profile', { name: 'Al' }, true);
    await arrives(alice, elsewhere.getUserNamespacedKey('profile'), { name: 'Al' });
    await assert.rejects(elsewhere.signIn('nobody', 'x'), /Could not find user/);
  });

  test('our client signs in to an account of the library, and the library to one of ours', bounded, async (t) => {
    const { port } = await serve(t);
    const peer = ['--peer', `127.0.0.1:${port}`];
    const alice = await client(t, port);
    await alice.anonSignIn();
    await alice.signUp('alice', 'secret');
    const ours = async (command, user, password) => {
      process.env.HOMING_PASSWORD = password;
      try {
        return await run(['db', command, user, ...peer]);
      } finally {
        delete process.env.HOMING_PASSWORD;
      }
    };
    await until(() => alice.getData('==alice'), SOON_MS, 'the account');
    const signedIn = await until(async () => {
      const outcome = await ours('signin', 'alice', 'secret');
      return outcome.code === 0 && outcome.one('signed-in');
    }, SOON_MS, 'our signing in');
    await alice.signIn('alice', 'secret');
    assert.equal(signedIn.author, alice.userAccount.getAddress());
    assert.equal((await ours('signin', 'alice', 'other')).code, 1);
    assert.equal((await ours('signup', 'alice', 'mine now')).one('error').code, 'taken');

    assert.equal((await ours('signup', 'bert', 'ours')).code, 0);
    const bert = await client(t, port);
    await bert.signIn('bert', 'ours');
    assert.equal(bert.userAccount.getUsername(), 'bert');
  });

  test('keys are found by their beginning', bounded, async (t) => {
    const { port } = await serve(t);
    const [alice, bob] = [await client(t, port), await client(t, port)];
    await alice.anonSignIn();
    // Different values: the library drops a put whose value and millisecond equal those of one before, for its
    // hashes do not cover the key.
    for (const key of ['notes/a', 'notes/b', 'other']) await alice.putData(key, key);
    await arrives(bob, 'other', 'other');
    const keys = await (await client(t, port)).queryKeys('notes/', false, 300);
    assert.deepEqual(keys.toSorted(), ['notes/a', 'notes/b']);
  });

  test('a subscriber gets all ten of ten updates', bounded, async (t) => {
    const { port } = await serve(t);
    const [alice, bob] = [await client(t, port), await client(t, port)];
    await alice.anonSignIn();
    await bob.subscribeData('ticker');
    const heard = [];
    bob.on('data', (record) => record.k === 'ticker' && heard.push(record.v));
    for (let i = 1; i <= 10; i++) {
      await alice.putData('ticker', i);
      await until(() => heard.includes(i), SOON_MS, `update ${i}`);
      // Changes of one key are at least 120 ms apart, so that the library's own debounce lets them through.
      await new Promise((resolve) => setTimeout(resolve, 130));
    }
    assert.deepEqual(heard, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });

  test('what was written offline is taken when the client comes back', bounded, async (t) => {
    const { port } = await serve(t);
    const alone = await node(t, { name: 'offline' });
    await alone.anonSignIn();
    await alone.putData('written offline', 'kept');
    const bob = await client(t, port);
    assert.equal(await bob.getData('written offline', false, 200), null);
    alone.network.connectTo('127.0.0.1', port);
    await welcomed(alone);
    await arrives(bob, 'written offline', 'kept');
  });

  test('maps, lists and counters of two authors merge', bounded, async (t) => {
    const { port } = await serve(t);
    const people = [await client(t, port), await client(t, port)];
    for (const person of people) await person.anonSignIn();
    const documents = people.map((person) => {
      const author = person.userAccount.getAddress();
      return { map: new MapCrdt(author), list: new ListCrdt(author), count: new CounterCrdt(author) };
    });
    for (const [place, person] of people.entries()) {
      const { map, list, count } = documents[place];
      map.SET(`from ${place}`, place);
      list.PUSH(`item ${place}`);
      count.ADD(5);
      await person.putCrdt('map', map);
      await person.putCrdt('list', list);
      await person.putCrdt('count', count);
    }
    const reader = await client(t, port);
    const author = reader.peerAccount.getAddress();
    const fresh = { map: () => new MapCrdt(author), list: () => new ListCrdt(author), count: () => new CounterCrdt(author) };
    const read = async (name) => {
      const document = fresh[name]();
      await reader.getCrdt(name, document, false, 500);
      return document.value;
    };
    await until(async () => (await read('count')) === 10, SOON_MS, 'both counts');
    assert.deepEqual(await read('map'), { 'from 0': 0, 'from 1': 1 });
    assert.deepEqual((await read('list')).toSorted(), ['item 0', 'item 1']);
  });

  test('a function of the server answers, and one that it does not have is not found', bounded, async (t) => {
    const { port } = await serve(t, { args: ['--echo'] });
    const alice = await client(t, port);
    const echoed = await alice.doFunction('echo', { a: [1] });
    assert.deepEqual([echoed.code, echoed.return], ['OK', { a: [1] }]);
    assert.equal((await alice.doFunction('constructor', {})).code, 'NOT_FOUND');
  });

  test('a node of another topic is turned away, and reads and writes nothing', bounded, async (t) => {
    const { port } = await serve(t);
    const alice = await client(t, port);
    await alice.anonSignIn();
    await alice.putData('ours', 1);
    const stranger = await node(t, { port, topic: 'another application' });
    await stranger.anonSignIn();
    await until(() => stranger.network.sockets.size === 0, SOON_MS, 'the end of the connection');
    assert.equal(await stranger.getData('ours', false, 200), null);
    assert.deepEqual(stranger.network.frames, []);
  });

  test('a server of the library and ours exchange what is written to either', bounded, async (t) => {
    const listen = 20_000 + (process.pid % 20_000);
    await node(t, { server: true, listen });
    const { port, command } = await serve(t, { args: ['--peer', `127.0.0.1:${listen}`] });
    await command.event('connected');
    const [alice, bob] = [await client(t, port), await client(t, listen)];
    await alice.anonSignIn();
    await bob.anonSignIn();
    await alice.putData('from ours', 1);
    await bob.putData('from theirs', 2);
    await arrives(bob, 'from ours', 1);
    await arrives(alice, 'from theirs', 2);
  });

  test('a server that was killed has everything that it confirmed', bounded, async (t) => {
    const first = await serve(t);
    const peer = ['--peer', `127.0.0.1:${first.port}`];
    for (const i of [1, 2, 3]) {
      const { one } = await run(['db', 'put', `key ${i}`, String(i), ...peer]);
      assert.equal(one('kept').confirmed, 'kept');
    }
    await first.command.stop({ signal: 'SIGKILL' }).catch(() => {});
    const { port } = await serve(t, { directory: first.directory });
    const reader = await client(t, port);
    for (const i of [1, 2, 3]) assert.equal(await reader.getData(`key ${i}`), i);
  });
});
