// In place of the reference's `testnet` module: a Rust network, with nodes of the reference only where the
// running case acts through them.

const { RustNode, RustNodes } = require('./rust-nodes.cjs');

module.exports = function replacement(HyperDHT, plan) {
  return async function createTestnet(size, options) {
    const teardown = typeof options === 'function' ? options : options.teardown.bind(options);
    const javascript = plan().javascript.filter((position) => position < size);
    const rust = await RustNodes.start(size - javascript.length, options.bootstrap);
    const testnet = new Testnet(rust, (settings) => new HyperDHT(settings));
    teardown(() => testnet.destroy(), { order: Infinity });
    const free = [...rust.addresses];
    for (let position = 0; position < size; position++) {
      // The reference's first node has nobody to tell it its address, so it never stores: some cases rely on that.
      const ephemeral = position === 0;
      const node = javascript.includes(position)
        ? new HyperDHT({ ephemeral, firewalled: false, bootstrap: rust.bootstrap, host: '127.0.0.1' })
        : new RustNode(free.shift());
      testnet.nodes.push(node);
      await node.fullyBootstrapped?.();
    }
    return testnet;
  };
};

class Testnet {
  nodes = [];
  #rust;
  #create;

  constructor(rust, create) {
    this.#rust = rust;
    this.#create = create;
    this.bootstrap = rust.bootstrap;
  }

  /** One more of the reference's own, that others do not list. */
  createNode(options) {
    const node = this.#create({ ephemeral: true, bootstrap: this.bootstrap, host: '127.0.0.1', ...options });
    this.nodes.push(node);
    return node;
  }

  [Symbol.iterator]() {
    return this.nodes[Symbol.iterator]();
  }

  async destroy() {
    for (const node of this.nodes) for (const server of node.listening) await server.close();
    for (const node of this.nodes.toReversed()) await node.destroy();
    await this.#rust.close();
  }
}
