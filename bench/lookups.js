// A client of the reference that looks topics up, one after the other: node lookups.js BOOTSTRAP [--announce] TOPIC...
// With --announce it announces them instead.
const DHT = require('./reference')('hyperdht')

main(process.argv.slice(2))

async function main(args) {
  const announces = args[1] === '--announce'
  const bootstrap = args[0]
  const topics = args.slice(announces ? 2 : 1)
  const node = new DHT({ bootstrap: [bootstrap], host: '127.0.0.1', ephemeral: true })
  await node.fullyBootstrapped()
  for (const topic of topics) {
    const target = Buffer.from(topic, 'hex')
    if (announces) await node.announce(target, DHT.keyPair()).finished()
    else await lookup(node, target)
  }
  if (announces) console.log(JSON.stringify({ event: 'announced' }))
  await node.destroy()
}

async function lookup(node, target) {
  const start = process.hrtime.bigint()
  const query = node.lookup(target)
  let firstMs = null
  for await (const reply of query) {
    if (firstMs === null && reply.peers.length > 0) firstMs = since(start)
  }
  const closest = query.closestNodes.map((n) => n.host + ':' + n.port)
  console.log(JSON.stringify({ event: 'done', ms: since(start), first_ms: firstMs, closest }))
}

function since(start) {
  return Number(process.hrtime.bigint() - start) / 1e6
}
