// Which nodes of each of the reference's own cases have to be its own, because the case acts through them.
// Every other node of the case's network is a Rust process. Cases not listed here are not run.

const HYPERDHT = {
  'server listen and findPeer': { javascript: [0, 1] },
  'server listen and lookup': { javascript: [0, 1] },
  'announce to group and lookup': { javascript: [0, 1] },
  'announce to group and bump and lookup': { javascript: [0, 1] },
  'announce null relay addresses': { javascript: [0] },
  'server listen returns server': { javascript: [0, 1] },
  'server suspends and resumes': { javascript: [0, 1] },
  'server announces relay addrs': { javascript: [1, 2] },
  'connect when we relay ourself': { unable: 'the relay itself opens the connection, and a Rust node cannot yet' },
  'announcer background does not over-trigger': { javascript: [] },
  'refresh-only announce does not crash persistent node': { javascript: [0] },
  'immutable put - get': { javascript: [3, 30] },
  'mutable put - get': { javascript: [3, 30] },
  'mutable put - put - get': { javascript: [3, 25, 30] },
};

const from = (first, end) => Array.from({ length: end - first }, (_, i) => first + i);

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

module.exports = { HYPERDHT, DHT_RPC };
