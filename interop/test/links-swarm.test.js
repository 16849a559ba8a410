// The reference's Hyperswarm and `homing chat` on one topic.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';

import HyperDHT from 'hyperdht';

import { JavaScriptMember, RustMember, settled } from '../lib/chat.js';
import { Homing } from '../lib/homing.js';
import { all } from '../lib/links.js';
import { againstItself, subject } from '../lib/sides.js';

const bounded = { timeout: 90_000 };

describe('topics of Hyperswarm and Homing', { skip: againstItself, timeout: 300_000 }, () => {
  let bootstrap;
  let network;
  before(async () => {
    network = await subject.startNetwork({ size: 12 });
    ({ bootstrap } = network);
  });
  after(() => network?.close());

  /** Two members are connected once, and each hears the other. */
  async function assertTalk(one, other) {
    await settled([one, other], (member) => [member === one ? other.key : one.key]);
    one.say('hello');
    assert.deepEqual(await other.hears(), { key: one.key, text: 'hello' });
    other.say('hello to you');
    assert.deepEqual(await one.hears(), { key: other.key, text: 'hello to you' });
  }

  const roles = [
    { server: true, client: false },
    { server: false, client: true },
    { server: true, client: true },
  ];
  const named = (role) => Object.keys(role).filter((key) => role[key]).join(' and ');

  // A client alone is found by nobody, and looks again only after ten minutes.
  for (const role of roles.filter(({ server }) => server)) {
    test(`Homing joins where a Hyperswarm is ${named(role)}`, bounded, async (t) => {
      const topic = randomBytes(32);
      const there = await JavaScriptMember.join(t, bootstrap, topic, role);
      const joining = await RustMember.join(t, bootstrap, topic);
      await assertTalk(there, joining);
    });
  }

  for (const role of roles) {
    test(`a Hyperswarm joins as ${named(role)} where Homing is`, bounded, async (t) => {
      const topic = randomBytes(32);
      const there = await RustMember.join(t, bootstrap, topic);
      await assertTalk(await JavaScriptMember.join(t, bootstrap, topic, role), there);
    });
  }

  // Two Hyperswarms that join in the same moment have both looked before either could be found, and look again
  // after ten minutes only: of pairs without one of ours in them nothing can be asked.
  test('five of each kind join at once, and each of ours is connected with everybody, once', bounded, async (t) => {
    const topic = randomBytes(32);
    const joining = Array.from({ length: 5 }, () => [
      RustMember.join(t, bootstrap, topic),
      JavaScriptMember.join(t, bootstrap, topic, { server: true, client: true }),
    ]);
    const members = await Promise.all(joining.flat());
    const ours = members.filter((member) => member instanceof RustMember).map((member) => member.key);
    const seen = members.map((member) => {
      if (member instanceof RustMember) return member;
      const present = { get: () => member.present.filter((key) => ours.includes(key)) };
      return Object.create(member, { present });
    });
    const everybody = members.map((member) => member.key);
    const expected = (member) =>
      (ours.includes(member.key) ? everybody : ours).filter((key) => key !== member.key);
    await settled(seen, expected);
  });

  test('a Hyperswarm that comes back is met again', bounded, async (t) => {
    const topic = randomBytes(32);
    const keyPair = HyperDHT.keyPair();
    const role = { server: true, client: true };
    const there = await RustMember.join(t, bootstrap, topic);
    const first = await JavaScriptMember.join(t, bootstrap, topic, role, keyPair);
    await assertTalk(there, first);
    await first.leave();
    await settled([there], () => []);
    await assertTalk(await JavaScriptMember.join(t, bootstrap, topic, role, keyPair), there);
  });

  test('Homing that was killed and comes back is met again', bounded, async (t) => {
    const topic = randomBytes(32);
    const seed = randomBytes(32).toString('hex');
    const there = await JavaScriptMember.join(t, bootstrap, topic, { server: true, client: true });
    const first = await RustMember.join(t, bootstrap, topic, ['--seed', seed]);
    await assertTalk(there, first);
    first.process.abandon();
    const again = await RustMember.join(t, bootstrap, topic, ['--seed', seed]);
    assert.equal(again.key, first.key);
    await assertTalk(there, again);
  });

  test('a pipe through a topic brings what one side reads to the other', bounded, async (t) => {
    const topic = randomBytes(32).toString('hex');
    const listener = new Homing(['listen', '--topic', topic], { bootstrap, events: 'stderr' });
    t.after(() => listener.close());
    await listener.event('listening');
    const connecting = new Homing(['connect', '--topic', topic], { bootstrap, events: 'stderr' });
    t.after(() => connecting.close());
    // What nobody reads when a command ends is gone.
    const heard = Promise.all([all(listener.output), all(connecting.output)]);
    connecting.input.end('through the topic');
    listener.input.end('and back');
    assert.deepEqual((await heard).map(String), ['through the topic', 'and back']);
  });
});
