// A peer of the reference in a process of its own, so that it can be killed: node mortal.cjs serve BOOTSTRAP...
// or node mortal.cjs dial KEY BOOTSTRAP... It serves or dials one key, and prints when it is connected.
const DHT = require('hyperdht');

const print = (line) => console.log(JSON.stringify(line));
const [role, ...rest] = process.argv.slice(2);
const dialled = role === 'dial' ? Buffer.from(rest.shift(), 'hex') : null;
const node = new DHT({ host: '127.0.0.1', port: [0, 0], ephemeral: true, quickFirewall: false, bootstrap: rest });

function meet(connection) {
  connection.on('error', () => {}).on('data', () => {});
  connection.on('open', () => print({ event: 'connected' }));
}

async function main() {
  await node.fullyBootstrapped();
  if (dialled) return meet(node.connect(dialled));
  const server = node.createServer(meet);
  await server.listen();
  print({ event: 'listening', key: server.publicKey.toString('hex') });
}

main();
