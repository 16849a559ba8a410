// Members of a topic: `homing chat`, and the reference's Hyperswarm.

import Hyperswarm from 'hyperswarm';

import { Homing } from './homing.js';
import { createNode } from './reference.js';

/** A member who runs the binary. `present` holds the keys of those it is connected with. */
export class RustMember {
  present = [];

  static async join(t, bootstrap, topic, args = []) {
    const member = new RustMember();
    member.process = new Homing(['chat', topic.toString('hex'), '--host', '127.0.0.1', ...args], { bootstrap });
    t.after(() => member.process.close());
    member.process.follow((line) => member.#follow(line));
    member.key = (await member.process.event('joined')).key;
    return member;
  }

  #follow({ event, key }) {
    if (event === 'connection') this.present.push(key);
    if (event === 'left') this.present.splice(this.present.indexOf(key), 1);
  }

  say(text) {
    this.process.input.write(`${text}\n`);
  }

  async hears() {
    const { key, text } = await this.process.event('message');
    return { key, text };
  }
}

/** A member who runs the reference. */
export class JavaScriptMember {
  #heard = [];
  #listeners = [];

  static async join(t, bootstrap, topic, role, keyPair) {
    const member = new JavaScriptMember();
    const dht = createNode({ ephemeral: true, quickFirewall: false, bootstrap });
    await dht.fullyBootstrapped();
    member.swarm = new Hyperswarm({ dht, keyPair });
    t.after(() => member.leave());
    member.key = member.swarm.keyPair.publicKey.toString('hex');
    member.swarm.on('connection', (connection) => member.#meet(connection));
    member.discovery = member.swarm.join(topic, role);
    if (role.server) await member.discovery.flushed();
    return member;
  }

  #meet(connection) {
    connection.on('error', () => {}); // who is present is what tests ask
    const key = connection.remotePublicKey.toString('hex');
    connection.on('data', (data) => {
      this.#heard.push({ key, text: String(data) });
      this.#listeners.shift()?.();
    });
  }

  get present() {
    return [...this.swarm.connections].map((connection) => connection.remotePublicKey.toString('hex'));
  }

  say(text) {
    for (const connection of this.swarm.connections) connection.write(text);
  }

  async hears() {
    while (this.#heard.length === 0) await new Promise((resolve) => this.#listeners.push(resolve));
    return this.#heard.shift();
  }

  // By force, its timer of the next look-up would outlive it by ten minutes.
  leave() {
    return this.swarm.destroy();
  }
}

/** Waits until these members are connected with these keys each, no more and no less. */
export async function settled(members, expected, within = 30_000) {
  const deadline = performance.now() + within;
  const same = (member) => String(member.present.toSorted()) === String(expected(member).toSorted());
  while (!members.every(same)) {
    if (performance.now() > deadline) {
      const short = (key) => key.slice(0, 4);
      const text = members.filter((member) => !same(member)).map((member) => {
        const lacks = expected(member).filter((key) => !member.present.includes(key));
        return `${member.constructor.name} ${short(member.key)} sees ${member.present.map(short)}; lacks: ${lacks.map(short)}`;
      });
      throw new Error(text.join('\n'));
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
