// Faults of networks, made in namespaces with nftables, and what the doctor says of each: the right cause, no
// wrong one, within eight seconds. No packet leaves the namespaces.

import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';

import { binary } from '../lib/homing.js';

const BUDGET_MS = 8_000;
const PORT = 40_000;
// Nodes drop what comes from addresses of documentations, so these look like those of the internet.
const PUBLIC = ['88.1.0.1', '88.2.0.1', '88.3.0.1'];

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

const isRoot = process.getuid?.() === 0;

describe('faults of the network', { skip: !isRoot && 'needs root, for network namespaces', concurrency: true }, () => {
  const prefix = `hd${process.pid % 100_000}`;
  const internet = `${prefix}i`;
  const namespaces = [];
  const homes = [];
  const nodes = [];

  function ip(...words) {
    execFileSync('ip', words, { stdio: ['ignore', 'ignore', 'pipe'] });
  }

  function inside(namespace, program, ...words) {
    ip('netns', 'exec', namespace, program, ...words);
  }

  function namespace(name) {
    ip('netns', 'add', name);
    namespaces.push(name);
    ip('-n', name, 'link', 'set', 'lo', 'up');
  }

  function cable(one, oneName, oneAddress, other, otherName, otherAddress) {
    ip('-n', one, 'link', 'add', oneName, 'type', 'veth', 'peer', 'name', otherName, 'netns', other);
    for (const [space, name, address] of [[one, oneName, oneAddress], [other, otherName, otherAddress]]) {
      ip('-n', space, 'addr', 'add', address, 'dev', name);
      ip('-n', space, 'link', 'set', name, 'up');
    }
  }

  function environment() {
    const home = mkdtempSync(join(tmpdir(), 'homing-doctor-'));
    homes.push(home);
    const { HOMING_BOOTSTRAP: _, ...env } = process.env;
    return { ...env, HOMING_DATA_DIR: home };
  }

  /** A bootstrap node of the internet, once it is ready. */
  async function bootstrapNode(address, others) {
    const seeds = others.flatMap((other) => ['--bootstrap', `${other}:${PORT}`]);
    const words = ['netns', 'exec', internet, binary(), '--json', '--host', address, '--port', PORT, ...seeds, 'bootstrap'];
    const child = spawn('ip', words.map(String), { env: environment(), stdio: ['ignore', 'pipe', 'inherit'] });
    nodes.push(child);
    for await (const line of createInterface({ input: child.stdout })) {
      if (JSON.parse(line).event === 'ready') return;
    }
    throw new Error(`the bootstrap node at ${address} ended`);
  }

  /** A computer behind a router with a fault. */
  function place(index, fault) {
    const [host, router] = [`${prefix}h${index}`, `${prefix}r${index}`];
    namespace(host);
    namespace(router);
    cable(router, 'wan', `88.9.${index}.2/30`, internet, `r${index}`, `88.9.${index}.1/30`);
    cable(host, 'lan', '192.168.7.2/24', router, 'lan', '192.168.7.1/24');
    ip('-n', router, 'route', 'add', 'default', 'via', `88.9.${index}.1`);
    ip('-n', host, 'route', 'add', 'default', 'via', '192.168.7.1');
    inside(router, 'sysctl', '-qw', 'net.ipv4.ip_forward=1');
    for (const rule of fault.router) inside(router, 'nft', rule);
    for (const rule of fault.host ?? []) inside(host, 'nft', rule);
    if (fault.ip) ip('-n', host, ...fault.ip);
    return host;
  }

  before(async () => {
    namespace(internet);
    for (const address of PUBLIC) ip('-n', internet, 'addr', 'add', `${address}/32`, 'dev', 'lo');
    for (const [n, address] of PUBLIC.entries()) await bootstrapNode(address, PUBLIC.slice(0, n));
  });

  after(() => {
    for (const child of nodes) child.kill('SIGKILL');
    for (const name of namespaces) ip('netns', 'del', name);
    for (const home of homes) rmSync(home, { recursive: true, force: true });
  });

  for (const [index, fault] of FAULTS.entries()) {
    test(fault.name, { timeout: 30_000 }, async () => {
      const host = place(index, fault);
      const seeds = (fault.bootstrap ?? PUBLIC.map((address) => `${address}:${PORT}`)).flatMap((seed) => ['--bootstrap', seed]);
      const words = ['netns', 'exec', host, binary(), '--json', ...seeds, 'doctor'];
      const begun = performance.now();
      const { code, stdout } = await new Promise((resolve) => {
        execFile('ip', words, { env: environment() }, (error, stdout) => resolve({ code: error?.code ?? 0, stdout }));
      });
      const took = performance.now() - begun;
      const report = stdout.split('\n').filter(Boolean).map((line) => JSON.parse(line)).find(({ event }) => event === 'report');
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
