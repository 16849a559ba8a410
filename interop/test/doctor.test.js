// Faults of networks, made in namespaces with nftables, and what the doctor says of each: the right cause, no
// wrong one, within eight seconds. No packet leaves the namespaces.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { binary } from '../lib/homing.js';
import { Internet, obstacle, PUBLIC, SEEDS } from '../lib/namespaces.js';

const BUDGET_MS = 8_000;

const NAT = ['add table ip n', 'add chain ip n p { type nat hook postrouting priority 100 ; }'];
const FILTER = ['add table inet f', 'add chain inet f pass { type filter hook forward priority 0 ; }'];
const STEADY = [...NAT, 'add rule ip n p oifname "wan" masquerade'];

const FAULTS = [
  { name: 'none', cause: null, code: 0, router: STEADY },
  {
    name: 'UDP does not pass the router',
    cause: 'UDP_BLOCKED',
    code: 40,
    router: [...STEADY, ...FILTER, 'add rule inet f pass meta l4proto udp drop'],
  },
  {
    name: 'nothing passes the router',
    cause: 'BOOTSTRAP_UNREACHABLE',
    code: 40,
    router: [...STEADY, ...FILTER, 'add rule inet f pass drop'],
  },
  {
    name: 'two of three bootstrap nodes are away',
    cause: null,
    code: 0,
    notes: ['BOOTSTRAP_UNREACHABLE'],
    router: [...STEADY, ...FILTER, `add rule inet f pass ip daddr { ${PUBLIC[0]}, ${PUBLIC[1]} } drop`],
  },
  {
    name: 'a firewall of this computer refuses to send',
    cause: 'NO_ROUTE',
    code: 40,
    router: STEADY,
    host: [
      'add table inet f',
      'add chain inet f out { type filter hook output priority 0 ; }',
      'add rule inet f out meta l4proto udp reject with icmpx admin-prohibited',
    ],
  },
  { name: 'there is no way out', cause: 'NO_ROUTE', code: 40, router: STEADY, ip: ['route', 'del', 'default'] },
  { name: 'the network is unplugged', cause: 'NET_DOWN', code: 40, router: STEADY, ip: ['addr', 'flush', 'dev', 'lan'] },
  { name: 'names do not resolve', cause: 'DNS_FAIL', code: 40, router: STEADY, bootstrap: ['node.invalid:1'] },
  {
    name: 'the router gives every connection another port',
    cause: null,
    code: 0,
    notes: ['NAT_SYMMETRIC'],
    router: [...NAT, 'add rule ip n p oifname "wan" masquerade random,fully-random'],
  },
];

describe('faults of the network', { skip: obstacle, concurrency: true }, () => {
  const internet = new Internet();
  before(() => internet.start());
  after(() => internet.stop());

  for (const fault of FAULTS) {
    test(fault.name, { timeout: 30_000 }, async () => {
      const place = internet.place(fault);
      const seeds = (fault.bootstrap ?? SEEDS).flatMap((seed) => ['--bootstrap', seed]);
      const begun = performance.now();
      const { code, stdout } = await internet.run(place, [binary(), '--json', ...seeds, 'doctor']);
      const took = performance.now() - begun;
      const lines = stdout.split('\n').filter(Boolean).map((line) => JSON.parse(line));
      const report = lines.find(({ event }) => event === 'report');
      assert.ok(report, stdout);
      const told = JSON.stringify(report.findings, null, 1);
      assert.equal(report.cause, fault.cause, told);
      assert.equal(code, fault.code, told);
      const notes = report.findings.filter(({ grade, check }) => grade === 'note' && check !== 'reachability');
      assert.deepEqual(notes.map(({ cause }) => cause), fault.notes ?? [], told);
      assert.ok(took < BUDGET_MS, `it took ${took} ms`);
    });
  }
});
