// One end of streams of the reference: node stream-end.js serve HOST BOOTSTRAP, pour HOST BOOTSTRAP KEY MIB or
// hold HOST BOOTSTRAP KEY COUNT. The same as `xtask bench stream-end` does with our own node.
const { once } = require('node:events')
const DHT = require('./reference')('hyperdht')

const FRAME = Buffer.alloc(64 << 10, 0x5a)
const MIB = 1 << 20

const [role, host, bootstrap, key, amount] = process.argv.slice(2)
const node = new DHT({ host, port: [0, 0], bootstrap: [bootstrap], ephemeral: true })

const roles = { serve, pour, hold }

async function serve() {
  const server = node.createServer(take)
  await server.listen()
  print({ event: 'listening', key: server.publicKey.toString('hex') })
}

function take(connection) {
  let bytes = 0
  let begun = null
  connection.on('error', () => {})
  connection.on('data', (data) => {
    begun ??= process.hrtime.bigint()
    bytes += data.length
  })
  connection.on('end', () => {
    connection.end()
    const seconds = begun === null ? null : Number(process.hrtime.bigint() - begun) / 1e9
    print({ event: 'received', bytes, seconds })
  })
}

async function dial() {
  const connection = node.connect(Buffer.from(key, 'hex'))
  await once(connection, 'open')
  return connection
}

async function pour() {
  const connection = await dial()
  for (let left = Number(amount) * MIB; left > 0; left -= FRAME.length) {
    if (!connection.write(FRAME)) await once(connection, 'drain')
  }
  connection.end()
  connection.resume()
  await once(connection, 'close')
  print({ event: 'poured' })
}

async function hold() {
  const held = []
  for (let i = 0; i < Number(amount); i++) held.push(await dial())
  print({ event: 'held' })
  process.stdin.on('end', () => process.exit())
}

function print(line) {
  console.log(JSON.stringify(line))
}

node.fullyBootstrapped().then(roles[role])
process.stdin.on('end', () => process.exit()).resume()
