// A network of the reference with one node on each address: node network.js HOST...
// The first three are where others enter it.
const DHT = require('./reference')('hyperdht')

const PORT = 49737
const ENTRIES = 3

main(process.argv.slice(2))

async function main(hosts) {
  const bootstrap = hosts.slice(0, ENTRIES).map((host) => host + ':' + PORT)
  for (const [i, host] of hosts.entries()) {
    const options = { host, port: [PORT, PORT + 1], ephemeral: false, firewalled: false }
    const node =
      i === 0 ? DHT.bootstrapper(PORT, host, { host }) : new DHT({ ...options, bootstrap: bootstrap.slice(0, i) })
    await node.fullyBootstrapped()
  }
  console.log(JSON.stringify({ event: 'ready', bootstrap }))
}

process.stdin.on('end', () => process.exit()).resume()
