// In place of the reference's `DHT` class: a constructor that makes a Rust node wherever the running case
// does not act through that node itself.

const { RustNode, RustNodes } = require('./rust-nodes.cjs');

/** What one case has made so far. */
class Case {
  made = 0;
  #left = 0;
  #rust;

  constructor(plan) {
    this.plan = plan;
  }

  next() {
    return this.made++;
  }

  /** The next Rust node's address; all of them start with the first one asked for. */
  async claim(bootstrap) {
    this.#rust ??= RustNodes.start(this.plan.size - this.plan.javascript.length, bootstrap);
    this.#left += 1;
    return (await this.#rust).addresses.shift();
  }

  async bootstrapper(port, host, bootstrap) {
    this.#rust ??= RustNodes.bootstrapper(port, host, bootstrap);
    this.#left += 1;
    return (await this.#rust).addresses.shift();
  }

  async release() {
    this.#left -= 1;
    if (this.#left === 0) await (await this.#rust).close();
  }
}

module.exports = function replacement(DHT, peer, plan) {
  let running = null;

  function current() {
    if (running?.plan !== plan()) running = new Case(plan());
    return running;
  }

  /** Does not know its address until it is bootstrapped, like the reference's own. */
  class Joining extends RustNode {
    table = { k: 20, id: null };
    stats = { commands: { downHint: { tx: 0, rx: 0 } } }; // its own hints are counted in the process, not here
    #case;
    #address;

    constructor(of, address, bootstrap) {
      super({ host: null, port: 0 }, null);
      this.bootstrapNodes = bootstrap;
      this.#case = of;
      this.#address = address;
    }

    async fullyBootstrapped() {
      const { host, port } = await this.#address;
      this.id = peer.id(host, port);
      this.table.id = this.id;
      Object.assign(this, { host, port });
    }

    on() {
      return this; // a Rust node runs no handler of a JavaScript test
    }

    async destroy() {
      if (this.destroyed) return;
      await super.destroy();
      await this.#case.release();
    }
  }

  return new Proxy(DHT, {
    construct(target, [options = {}], called) {
      const of = current();
      if (of.plan.javascript.includes(of.next())) return Reflect.construct(target, [options], called);
      const { bootstrap = [] } = options;
      return new Joining(of, of.claim(bootstrap), bootstrap);
    },
    get(target, key) {
      if (key !== 'bootstrapper') return target[key];
      return (port, host, options = {}) => {
        const of = current();
        if (of.plan.javascript.includes(of.next())) return target.bootstrapper(port, host, options);
        const { bootstrap = [] } = options;
        return new Joining(of, of.bootstrapper(port, host, bootstrap), bootstrap);
      };
    },
  });
};
