// Rust nodes, as the reference's test files see the nodes of their network.

const { pathToFileURL } = require('node:url');
const { join } = require('node:path');

async function start(args, options) {
  const { Homing } = await import(pathToFileURL(join(__dirname, '../lib/homing.js')));
  return new Homing(args, options);
}

function parse(address) {
  const [host, port] = address.split(':');
  return { host, port: Number(port) };
}

/** `count` Rust nodes of one process: a network of their own, or part of the one that `bootstrap` names. */
class RustNodes {
  #process;

  static async start(count, bootstrap = []) {
    const nodes = new RustNodes();
    nodes.#process = await start(['testnet', String(count), '--until-stdin-closes'], { bootstrap });
    const ready = await nodes.#process.event('ready');
    nodes.bootstrap = (ready.bootstrap ?? []).map(parse);
    nodes.addresses = ready.nodes.map(parse);
    return nodes;
  }

  static async bootstrapper(port, host, bootstrap = []) {
    const nodes = new RustNodes();
    nodes.#process = await start(['bootstrap', '--host', host, '--port', String(port)], { bootstrap });
    nodes.addresses = [parse((await nodes.#process.event('ready')).address)];
    return nodes;
  }

  async close() {
    await this.#process?.close();
  }
}

/** One of them, with the properties that the test files read. */
class RustNode {
  listening = new Set();
  firewalled = false;
  ephemeral = false;
  destroyed = false;

  constructor(address, id) {
    Object.assign(this, address);
    this.id = id;
  }

  address() {
    return { host: this.host, family: 4, port: this.port };
  }

  remoteAddress() {
    return { host: this.host, port: this.port };
  }

  async destroy() {
    this.destroyed = true;
  }
}

module.exports = { RustNode, RustNodes };
