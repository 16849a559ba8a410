// A server of the library, with its LevelDB store: node tooldb-server.js DIRECTORY
// The WebSocket adapter that its documentation names is not on the registry; this one does as little as one can.
const path = require('node:path')
const installed = require('./reference')
const { ToolDb, ToolDbNetworkAdapter } = installed('tool-db')
const { WebSocketServer } = installed('ws')

class Network extends ToolDbNetworkAdapter {
  constructor(db) {
    super(db)
    db.once('init', () => this.listen())
  }

  listen() {
    const listener = new WebSocketServer({ host: '127.0.0.1', port: 0 })
    listener.on('connection', (socket) => this.carry(socket))
    listener.on('listening', () => {
      console.log(JSON.stringify({ event: 'listening', address: '127.0.0.1:' + listener.address().port }))
    })
  }

  carry(socket) {
    let id = null
    socket.on('error', () => {}) // told by close
    socket.on('close', () => id && this.onClientDisconnect(id))
    socket.on('message', (bytes) => {
      this.onClientMessage(bytes.toString(), id, (claimed) => {
        id = claimed
        this.isClientConnected[id] = () => socket.readyState === 1
        this.clientToSend[id] = (message) => socket.send(message)
      })
    })
  }
}

new ToolDb({
  networkAdapter: Network,
  storageAdapter: installed('@tool-db/leveldb-store').default,
  userAdapter: installed('@tool-db/ecdsa-user').default,
  storageName: path.join(process.argv[2], 'store'),
  topic: 'bench',
  server: true,
  host: '127.0.0.1',
  port: 1
})

process.on('SIGINT', () => process.exit())
process.stdin.on('end', () => process.exit()).resume()
