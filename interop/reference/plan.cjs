// Which nodes of each of the reference's own cases have to be its own, because the case acts through them.
// Every other node of the case's network is a Rust process.

const FIRST_TWO = { javascript: [0, 1] };
const ONLY_BOOTSTRAP = { javascript: [] };

/** Cases of hyperdht act through the first two nodes, except these. */
const HYPERDHT = {
  'server announces relay addrs': { javascript: [1, 2] },
  'connect when we relay ourself': { unable: 'the relay itself opens the connection, and a Rust node cannot yet' },
  'udp noise, client ends, no crash': { javascript: [1] },
  'relayed connection on same node': {
    unable: 'the reference gives up its stream where the node learns between handshake and punch that it is open',
  },
  'dht node can host server': { javascript: [1, 2] },
  'bootstrap with suggested-IP': { unable: 'its subject is the table of the only other node' },
  'announcer background does not over-trigger': { javascript: [] },
  'immutable put - get': { javascript: [3, 30] },
  'mutable put - get': { javascript: [3, 30] },
  'mutable put - put - get': { javascript: [3, 25, 30] },
};

/** Hyperswarms are the reference's; every node of their network is a Rust process. */
function hyperswarm() {
  return ONLY_BOOTSTRAP;
}

function hyperdht(name) {
  // The cases of relaying.js ask their network for nothing but where to enter it.
  return HYPERDHT[name] ?? (name.startsWith('relay connection') ? ONLY_BOOTSTRAP : FIRST_TWO);
}

const from = (first, end) => Array.from({ length: end - first }, (_, i) => first + i);

/** Cases of dht-rpc not listed here are not run. */
const DHT_RPC = {
  bootstrapper: { size: 1, javascript: [] },
  'bootstrapper - bind host': { size: 1, javascript: [] },
  'bootstrapper - opts.bootstrap': { size: 2, javascript: [1] },
  'bootstrapper - port and host are required': { unable: 'about the arguments of a JavaScript function alone' },
  'make tiny swarm': { size: 2, javascript: [1] },
  metrics: { size: 2, javascript: [0] },
  'delayed ping': { size: 2, javascript: [0] },
  'delayed ping - rejects when delay exceeds client cap': { size: 2, javascript: [0] },
  'delayed ping - server times out when exceeding delay': { unable: 'the binary has no option for the longest delay' },
  'make bigger swarm': { size: 500, javascript: [25, 470, 490, 499] },
  // The nodes that store are JavaScript, as the case counts in them; the Rust nodes lie between.
  'commit after query': { size: 100, javascript: from(40, 100) },
  'map query stream': { size: 10, javascript: [0] },
  timeouts: { size: 3, javascript: [1, 2] },
  'timeouts - downhints disabled': { size: 3, javascript: [1, 2] },
  'request with/without retries': { size: 3, javascript: [1, 2] },
  'ratelimit downhint commands': { size: 4, javascript: [1, 2, 3] },
  'ratelimit downhint can be 0': { size: 4, javascript: [1, 2, 3] },
  'shorthand commit': { size: 40, javascript: from(0, 21) },
  'timeouts when commiting': { size: 3, javascript: [1, 2] },
  'request session, destroy all': { unable: 'it relies on its nodes ending before a sent datagram arrives' },
  'nat update event': { size: 2, javascript: [1] },
  relay: { size: 4, javascript: [1, 2, 3] },
  'response includes roundtrip time': { size: 3, javascript: [1] },
  'debug - rtt stats': { size: 10, javascript: [0] },
};

const UNPLANNED = { unable: 'needs more of a node than its place in a network' };

function dhtRpc(name) {
  return DHT_RPC[name] ?? UNPLANNED;
}

module.exports = { hyperdht, hyperswarm, dhtRpc };
