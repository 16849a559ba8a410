// One node of the reference that pings an address 20 times a second: node flooded.js HOST PORT ADDRESS
const DHT = require('./reference')('hyperdht')

const PERIOD_MS = 50

main(process.argv[2], Number(process.argv[3]), process.argv[4].split(':'))

async function main(host, port, [pingedHost, pingedPort]) {
  const node = DHT.bootstrapper(port, host)
  await node.fullyBootstrapped()
  print({ event: 'ready', address: host + ':' + port, id: node.id.toString('hex') })
  setInterval(ping, PERIOD_MS, node, { host: pingedHost, port: Number(pingedPort) })
}

async function ping(node, to) {
  const start = process.hrtime.bigint()
  try {
    await node.ping(to, { retry: false })
    print({ event: 'ping', ms: Number(process.hrtime.bigint() - start) / 1e6 })
  } catch {
    print({ event: 'lost' })
  }
}

function print(line) {
  console.log(JSON.stringify(line))
}

process.stdin.on('end', () => process.exit()).resume()
