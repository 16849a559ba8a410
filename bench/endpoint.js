// A host of the laboratory: node endpoint.js BOOTSTRAP...
// Reads commands, one JSON object a line, and answers with events. Each command has a node of its own:
//   {"do":"serve"}                          listening: its key; it echoes
//   {"do":"dial","key":"...","relay":"..."} connected, first-byte or failed
//   {"do":"end"}                            ended
const readline = require('node:readline')
const DHT = require('./reference')('hyperdht')

const bootstrap = process.argv.slice(2)
let node = null

const commands = { serve, dial, end }

async function start() {
  node = new DHT({ bootstrap, ephemeral: true })
  await node.fullyBootstrapped()
}

async function serve() {
  await start()
  const server = node.createServer((connection) => {
    connection.on('error', () => {}) // the client goes first
    connection.pipe(connection)
  })
  await server.listen()
  print({ event: 'listening', key: server.publicKey.toString('hex') })
}

async function dial({ key, relay }) {
  await start()
  const begun = process.hrtime.bigint()
  const options = relay ? { relayThrough: Buffer.from(relay, 'hex') } : {}
  const connection = node.connect(Buffer.from(key, 'hex'), options)
  let opened = false
  connection.on('error', (error) => {
    if (!opened) print({ event: 'failed', reason: error.code ?? error.message, ms: since(begun) })
  })
  connection.on('open', () => {
    opened = true
    const { remoteHost, remotePort } = connection.rawStream
    print({ event: 'connected', ms: since(begun), remote: remoteHost + ':' + remotePort })
    connection.write('x')
  })
  connection.once('data', () => print({ event: 'first-byte' }))
}

async function end() {
  await node?.destroy({ force: true })
  node = null
  print({ event: 'ended' })
}

function since(start) {
  return Number(process.hrtime.bigint() - start) / 1e6
}

function print(line) {
  console.log(JSON.stringify(line))
}

readline
  .createInterface({ input: process.stdin })
  .on('line', (line) => {
    const command = JSON.parse(line)
    commands[command.do](command)
  })
  .on('close', () => process.exit())

print({ event: 'ready' })
