// One node of the reference that pings an address 20 times a second: node flooded.js ADDRESS PINGED
const DHT = require('./reference')('hyperdht')

const PERIOD_MS = 50

main(address(process.argv[2]), address(process.argv[3]))

async function main(own, pinged) {
  const node = DHT.bootstrapper(own.port, own.host)
  await node.fullyBootstrapped()
  print({ event: 'ready', address: process.argv[2] })
  setInterval(ping, PERIOD_MS, node, pinged)
}

function address(text) {
  const [host, port] = text.split(':')
  return { host, port: Number(port) }
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
