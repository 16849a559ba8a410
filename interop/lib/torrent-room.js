// One BitTorrent client looks for whom `homing announce` announced, in a room of its own: `node torrent-room.js
// CLIENT`, run in a network namespace, since clients refuse loopback addresses of other nodes. Prints where
// the client connects from.

import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Homing } from './homing.js';

/** transmission announces only where it knows more than eight nodes. */
const NODES = 12;
const address = (host) => `10.77.0.${host}`;
const port = (host) => 7000 + host;
const ANNOUNCER = 100;
const CLIENT = 101;
const RPC_PORT = 16_998;
const silent = { stdio: 'ignore' };

const clients = {
  aria2(home, magnet, nodes) {
    const where = [`--interface=${address(CLIENT)}`, `--dht-entry-point=${nodes[0]}`, `--dir=${home}`];
    const alone = ['--no-conf', '--quiet', '--enable-dht6=false', '--bt-enable-lpd=false'];
    return spawn('aria2c', [...alone, ...where, `--dht-file-path=${join(home, 'dht.dat')}`, magnet], silent);
  },

  transmission(home, magnet, nodes) {
    const settings = {
      'bind-address-ipv4': address(CLIENT),
      'lpd-enabled': false,
      'port-forwarding-enabled': false,
      'rpc-port': RPC_PORT,
      'utp-enabled': false,
    };
    writeFileSync(join(home, 'settings.json'), JSON.stringify(settings));
    writeFileSync(join(home, 'dht.bootstrap'), nodes.map((node) => `${node.replace(':', ' ')}\n`).join(''));
    const daemon = spawn('transmission-daemon', ['-f', '-g', home], silent);
    daemon.once('spawn', () => add(magnet));
    return daemon;
  },
};

/** Gives the daemon a torrent as soon as it listens. */
async function add(magnet) {
  const url = `http://127.0.0.1:${RPC_PORT}/transmission/rpc`;
  let session;
  while (!session) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    // Without a session it refuses, and names one.
    session = await fetch(url).then((answer) => answer.headers.get('x-transmission-session-id'), () => undefined);
  }
  const body = JSON.stringify({ method: 'torrent-add', arguments: { filename: magnet } });
  await fetch(url, { method: 'POST', headers: { 'x-transmission-session-id': session }, body });
}

function open() {
  execFileSync('ip', ['link', 'set', 'lo', 'up']);
  const hosts = [...Array.from({ length: NODES }, (_, i) => i + 1), ANNOUNCER, CLIENT];
  for (const host of hosts) execFileSync('ip', ['addr', 'add', `${address(host)}/24`, 'dev', 'lo']);
}

async function network() {
  const nodes = [];
  for (let host = 1; host <= NODES; host++) {
    const args = ['bootstrap', '--network', 'mainline', '--host', address(host), '--port', String(port(host))];
    await new Homing(args, { bootstrap: nodes.slice(0, 1) }).event('ready');
    nodes.push(`${address(host)}:${port(host)}`);
  }
  return nodes;
}

open();
const nodes = await network();
const infoHash = randomBytes(20).toString('hex');
const server = createServer((socket) => socket.on('error', () => {}));
await once(server.listen(0, address(ANNOUNCER)), 'listening');
const at = String(server.address().port);
const args = ['announce', infoHash, '--on', 'mainline', '--port', at, '--host', address(ANNOUNCER)];
await new Homing(args, { bootstrap: nodes.slice(0, 1) }).event('announced');

const home = mkdtempSync(join(tmpdir(), 'torrent-'));
const client = clients[process.argv[2]](home, `magnet:?xt=urn:btih:${infoHash}`, nodes);
const [socket] = await once(server, 'connection');
console.log(JSON.stringify({ from: socket.remoteAddress }));
client.kill('SIGKILL');
await once(client, 'exit');
rmSync(home, { recursive: true, force: true });
process.exit();
