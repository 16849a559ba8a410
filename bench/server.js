// One node of the reference: node server.js HOST PORT
const DHT = require('./reference')('hyperdht')

main(process.argv[2], Number(process.argv[3]))

async function main(host, port) {
  const node = DHT.bootstrapper(port, host)
  await node.fullyBootstrapped()
  console.log(JSON.stringify({ event: 'ready', address: host + ':' + port, id: node.id.toString('hex') }))
}

process.stdin.on('end', () => process.exit()).resume()
