// What a node counts beside what a capture of its network shows: bytes, datagrams, and whom it sent to.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';

import { binary } from '../lib/homing.js';
import { Internet, obstacle, SEEDS } from '../lib/namespaces.js';

const OWN = '192.168.7.2';
const TCPDUMP = ['/usr/bin/tcpdump', '/usr/sbin/tcpdump'].find(existsSync);
const ROUTER = [
  'add table ip n',
  'add chain ip n p { type nat hook postrouting priority 100 ; }',
  'add rule ip n p oifname "wan" masquerade',
];
// `1700000000.123456 IP 192.168.7.2.49737 > 88.1.0.1.40000: UDP, length 63`
const PACKET = /^(\d+\.\d+) IP (\S+)\.(\d+) > (\S+)\.(\d+): UDP, length (\d+)/;
// The counters may be a thousandth off, the specification says; on a quiet network they have no reason to.
const SHARE = 0.001;

const lacking = obstacle || (!TCPDUMP && 'needs tcpdump');

describe('a node and a capture of its network', { skip: lacking }, () => {
  const internet = new Internet();
  before(() => internet.start());
  after(() => internet.stop());

  test('agree about datagrams, bytes, and the addresses that were sent to', { timeout: 30_000 }, async () => {
    const place = internet.place({ router: ROUTER });
    const capture = internet.spawn(place, [TCPDUMP, '-i', 'lan', '-nn', '-tt', '-l', '--immediate-mode', 'udp']);
    await capture.line((line) => line.includes('listening on'));
    const home = internet.home();
    const seeds = SEEDS.flatMap((seed) => ['--bootstrap', seed]);
    const node = internet.spawn(place, [binary(), '--json', ...seeds, 'node', '--ephemeral'], home);
    await node.line((line) => line.includes('"ready"'));
    const { stdout } = await internet.run(place, [binary(), '--json', 'snapshot'], home);
    const snapshot = JSON.parse(stdout.trim().split('\n').at(-1));
    const ports = snapshot.sockets.map(({ local }) => local?.split(':')[1]).filter(Boolean);
    // What the capture was shown last may still be on its way to us.
    await new Promise((resolve) => setTimeout(resolve, 500));
    const seen = { in: [0, 0], out: [0, 0] };
    const contacted = new Set();
    for (const line of capture.lines) {
      const [, at, from, fromPort, to, toPort, length] = PACKET.exec(line) ?? [];
      const own = from === OWN ? fromPort : toPort;
      if (!at || at * 1000 > snapshot.taken_unix_ms + 1 || !ports.includes(own)) continue;
      const total = from === OWN ? seen.out : seen.in;
      total[0] += 1;
      total[1] += Number(length);
      if (from === OWN) contacted.add(`${to}:${toPort}`);
    }
    const sum = (field) => snapshot.sockets.reduce((total, socket) => total + socket[field], 0);
    const counted = { in: [sum('packets_in'), sum('bytes_in')], out: [sum('packets_out'), sum('bytes_out')] };
    assert.ok(seen.out[0] > 10, `only ${seen.out[0]} datagrams were seen`);
    for (const way of ['in', 'out']) {
      for (const n of [0, 1]) {
        const off = Math.abs(counted[way][n] - seen[way][n]);
        assert.ok(off <= SHARE * seen[way][n], JSON.stringify({ counted, seen }));
      }
    }
    assert.equal(snapshot.contacted.addresses, contacted.size);
  });
});
