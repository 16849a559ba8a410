// Loaded before one of the reference's own test files: replaces the module that makes the network, and runs
// only the cases that can be planned. The test files and the reference stay as they are.

const Module = require('node:module');
const { join } = require('node:path');

const plans = require('./plan.cjs');

const checkout = process.cwd();
const load = Module._load;
const fromCheckout = (path) => load(join(checkout, path), null, false);

const project = require(join(checkout, 'package.json')).name;
const planOf = { hyperdht: plans.hyperdht, hyperswarm: plans.hyperswarm }[project] ?? plans.dhtRpc;

/** The module that makes the network of the project's tests. */
const NETWORK = { hyperdht: 'testnet.js', hyperswarm: 'node_modules/hyperdht/testnet.js' }[project] ?? 'index.js';

let running = null;
const plan = () => running;

const replaced = new Map();
let brittle = null;

function replacement(path) {
  if (!replaced.has(path)) replaced.set(path, NETWORK.endsWith('testnet.js') ? testnet() : dhtClass());
  return replaced.get(path);
}

function testnet() {
  return require('./hyperdht.cjs')(fromCheckout(NETWORK.replace('testnet.js', 'index.js')), plan);
}

function dhtClass() {
  return require('./dht-rpc.cjs')(fromCheckout('index.js'), fromCheckout('lib/peer.js'), plan);
}

/** `brittle`, which runs the cases that can be planned and says of the others why not. */
function selecting(test) {
  return new Proxy(test, {
    apply(target, self, [name, ...rest]) {
      const fn = rest.pop();
      const chosen = planOf(name);
      if (chosen.unable) {
        process.stdout.write(`# left out: ${name}: ${chosen.unable}\n`);
        return target.skip(name, ...rest, fn);
      }
      const run = (t) => {
        running = chosen;
        return fn(t);
      };
      return Reflect.apply(target, self, [name, ...rest, run]);
    },
  });
}

Module._load = function (request, parent, ...rest) {
  const asks = parent?.filename ?? '';
  const isTest = asks.startsWith(join(checkout, 'test')) && !asks.includes('node_modules');
  if (isTest && request === 'brittle') return (brittle ??= selecting(load(request, parent, ...rest)));
  if (isTest) {
    const path = Module._resolveFilename(request, parent);
    if (path === join(checkout, NETWORK)) return replacement(path);
  }
  return load(request, parent, ...rest);
};
