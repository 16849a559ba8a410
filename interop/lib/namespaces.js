// Small internets in network namespaces of Linux: bootstrap nodes at public addresses, and computers behind routers.
// No packet leaves them. Needs root, and a kernel that grants them.

import { execFile, execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { binary } from './homing.js';

const PORT = 40_000;
// Nodes drop what comes from addresses of documentation, so these look like those of the internet.
export const PUBLIC = ['88.1.0.1', '88.2.0.1', '88.3.0.1'];
export const SEEDS = PUBLIC.map((address) => `${address}:${PORT}`);

let serial = 0;

export class Internet {
  #prefix = `hi${process.pid % 100_000}${'abcdefgh'[serial++]}`;
  #core = `${this.#prefix}i`;
  #namespaces = [];
  #homes = [];
  #children = [];
  #places = 0;

  /** Starts the bootstrap nodes. */
  async start() {
    this.#namespace(this.#core);
    for (const address of PUBLIC) ip('-n', this.#core, 'addr', 'add', `${address}/32`, 'dev', 'lo');
    for (const [n, address] of PUBLIC.entries()) {
      const others = SEEDS.slice(0, n).flatMap((seed) => ['--bootstrap', seed]);
      const node = this.spawn(this.#core, [binary(), '--json', '--host', address, '--port', PORT, ...others, 'bootstrap']);
      await node.line((line) => line.includes('"ready"'));
    }
  }

  /** A computer behind a router, each with rules of nftables, and a command of `ip` on the computer. */
  place({ router: rules, host: own = [], ip: command }) {
    const index = this.#places++;
    const [host, router] = [`${this.#prefix}h${index}`, `${this.#prefix}r${index}`];
    this.#namespace(host);
    this.#namespace(router);
    cable([router, 'wan', `88.9.${index}.2/30`], [this.#core, `r${index}`, `88.9.${index}.1/30`]);
    cable([host, 'lan', '192.168.7.2/24'], [router, 'lan', '192.168.7.1/24']);
    ip('-n', router, 'route', 'add', 'default', 'via', `88.9.${index}.1`);
    ip('-n', host, 'route', 'add', 'default', 'via', '192.168.7.1');
    ip('netns', 'exec', router, 'sysctl', '-qw', 'net.ipv4.ip_forward=1');
    for (const rule of rules) ip('netns', 'exec', router, 'nft', rule);
    for (const rule of own) ip('netns', 'exec', host, 'nft', rule);
    if (command) ip('-n', host, ...command);
    return host;
  }

  /** Runs a program at a place to its end. */
  run(place, words, home = this.home()) {
    return new Promise((resolve) => {
      const options = { env: environment(home) };
      execFile('ip', ['netns', 'exec', place, ...words], options, (error, stdout) => {
        resolve({ code: error?.code ?? 0, stdout });
      });
    });
  }

  /** Starts a program at a place; `line` waits for one that it prints, `lines` holds all. */
  spawn(place, words, home = this.home()) {
    const options = { env: environment(home), stdio: ['ignore', 'pipe', 'pipe'] };
    const child = spawn('ip', ['netns', 'exec', place, ...words.map(String)], options);
    this.#children.push(child);
    const lines = [];
    let look = () => {};
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => {
        lines.push(line);
        look();
      });
    }
    const line = (wanted) =>
      new Promise((resolve, reject) => {
        look = () => lines.some(wanted) && resolve(lines.find(wanted));
        child.on('close', () => reject(new Error(`${words.join(' ')} ended\n${lines.join('\n')}`)));
        look();
      });
    return { lines, line, child };
  }

  home() {
    const home = mkdtempSync(join(tmpdir(), 'homing-internet-'));
    this.#homes.push(home);
    return home;
  }

  stop() {
    for (const child of this.#children) child.kill('SIGKILL');
    for (const name of this.#namespaces) ip('netns', 'del', name);
    for (const home of this.#homes) rmSync(home, { recursive: true, force: true });
  }

  #namespace(name) {
    ip('netns', 'add', name);
    this.#namespaces.push(name);
    ip('-n', name, 'link', 'set', 'lo', 'up');
  }
}

/** Why there can be no such internet here; `false` if there can. */
export const obstacle = probe();

function probe() {
  if (process.getuid?.() !== 0) return 'needs root, for network namespaces';
  const name = `hi${process.pid % 100_000}probe`;
  try {
    ip('netns', 'add', name);
    ip('-n', name, 'link', 'add', 'one', 'type', 'veth', 'peer', 'name', 'other');
    ip('netns', 'exec', name, 'sysctl', '-qw', 'net.ipv4.ip_forward=1');
    ip('netns', 'exec', name, 'nft', 'add table ip n');
    ip('netns', 'exec', name, 'nft', 'add chain ip n p { type nat hook postrouting priority 100 ; }');
    ip('netns', 'exec', name, 'nft', 'add rule ip n p oifname "one" masquerade random,fully-random');
    return false;
  } catch (error) {
    return `no network namespace can be had here: ${error.stderr || error.message}`;
  } finally {
    spawnSync('ip', ['netns', 'del', name]);
  }
}

function ip(...words) {
  execFileSync('ip', words, { stdio: ['ignore', 'ignore', 'pipe'] });
}

function cable(...ends) {
  const [[one, oneName], [other, otherName]] = ends;
  ip('-n', one, 'link', 'add', oneName, 'type', 'veth', 'peer', 'name', otherName, 'netns', other);
  for (const [space, name, address] of ends) {
    ip('-n', space, 'addr', 'add', address, 'dev', name);
    ip('-n', space, 'link', 'set', name, 'up');
  }
}

function environment(home) {
  const { HOMING_BOOTSTRAP: _, ...env } = process.env;
  return { ...env, HOMING_DATA_DIR: home };
}
