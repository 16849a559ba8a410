// A network of the reference on loopback: node testnet.js SIZE
const createTestnet = require('./reference')('hyperdht/testnet')

main(Number(process.argv[2]))

async function main(size) {
  const testnet = await createTestnet(size)
  const bootstrap = testnet.bootstrap.map((node) => node.host + ':' + node.port)
  const nodes = testnet.nodes.map((node) => node.host + ':' + node.address().port)
  console.log(JSON.stringify({ event: 'ready', bootstrap, nodes }))
}

process.stdin.on('end', () => process.exit()).resume()
