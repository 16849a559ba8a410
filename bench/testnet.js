// A network of the reference on loopback: node testnet.js SIZE
const createTestnet = require('./reference')('hyperdht/testnet')

main(Number(process.argv[2]))

async function main(size) {
  const testnet = await createTestnet(size)
  const bootstrap = testnet.bootstrap.map((node) => node.host + ':' + node.port)
  console.log(JSON.stringify({ event: 'ready', bootstrap }))
}

process.stdin.on('end', () => process.exit()).resume()
