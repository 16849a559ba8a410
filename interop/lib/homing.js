// The binary under test as a child process that speaks JSON lines.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const STOP_MS = 5_000;
const ANSWER_MS = 30_000;

const alive = new Set();
process.on('exit', () => {
  for (const child of alive) child.abandon();
});

export function binary() {
  const built = ['release', 'debug'].map((profile) =>
    fileURLToPath(new URL(`../../target/${profile}/homing`, import.meta.url)),
  );
  const found = [process.env.HOMING, ...built].find((path) => path && existsSync(path));
  if (!found) throw new Error('no homing binary: build it with `cargo build -p homing-cli`, or set HOMING');
  return found;
}

/** One running `homing` command. */
export class Homing {
  #child;
  #home;
  #lines = [];
  #waiting = new Set();
  #complaints = '';
  #ended;
  #follower = () => {};

  /** With `events: 'stderr'` the lines come from there, and standard output is `output`. */
  constructor(args, { bootstrap = [], events = 'stdout' } = {}) {
    const program = binary();
    // An own data directory: commands of different tests must not find each other's running node.
    this.#home = mkdtempSync(join(tmpdir(), 'homing-'));
    const seeds = bootstrap.flatMap((address) => ['--bootstrap', address]);
    this.command = ['--json', ...seeds, ...args];
    const { HOMING_BOOTSTRAP: _, ...env } = process.env;
    this.#child = spawn(program, this.command, { env: { ...env, HOMING_DATA_DIR: this.#home } });
    alive.add(this);
    if (events === 'stdout') this.#child.stderr.on('data', (text) => (this.#complaints += text));
    this.#child.stdin.on('error', () => {}); // it may end before it was asked to
    createInterface({ input: this.#child[events] }).on('line', (line) => this.#line(line));
    this.#ended = once(this.#child, 'close').then(([code, signal]) => this.#end(code ?? signal));
  }

  get pid() {
    return this.#child.pid;
  }

  /** What it reads. */
  get input() {
    return this.#child.stdin;
  }

  /** What it writes, where its lines come by standard error. */
  get output() {
    return this.#child.stdout;
  }

  /** Every line printed so far. */
  get lines() {
    return this.#lines;
  }

  /** Calls back for every line from here on. */
  follow(follower) {
    this.#follower = follower;
  }

  /** The next line (also one already printed, but each only once) that has this event name. */
  async event(name, { within = ANSWER_MS } = {}) {
    const early = this.#lines.find((line) => line.event === name && !line.taken);
    if (early) return take(early);
    if (!alive.has(this)) throw this.#error(`has ended and printed no ${name}`);
    return new Promise((resolve, reject) => {
      const waiter = { name, resolve, reject };
      this.#waiting.add(waiter);
      waiter.timer = setTimeout(() => {
        this.#waiting.delete(waiter);
        reject(this.#error(`printed no ${name} within ${within} ms`));
      }, within);
    });
  }

  /** The exit code, once it ends by itself. */
  async ended({ within = ANSWER_MS } = {}) {
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), within);
    const code = await this.#ended;
    clearTimeout(timer);
    if (code === 'SIGKILL') throw this.#error(`did not end within ${within} ms`);
    return code;
  }

  /** Asks it to end as a person would, and waits for that. */
  async stop({ signal = 'SIGINT' } = {}) {
    if (this.#child.exitCode === null) this.#child.kill(signal);
    return this.ended({ within: STOP_MS });
  }

  /** For the end of a test: ends it whatever it does. */
  async close() {
    this.abandon();
    await this.#ended;
  }

  abandon() {
    this.#child.kill('SIGKILL');
    rmSync(this.#home, { recursive: true, force: true });
  }

  #line(text) {
    let line;
    try {
      line = JSON.parse(text);
    } catch {
      this.#complaints += `not JSON: ${text}\n`;
      return;
    }
    this.#lines.push(line);
    this.#follower(line);
    for (const waiter of this.#waiting) {
      if (waiter.name !== line.event) continue;
      this.#waiting.delete(waiter);
      clearTimeout(waiter.timer);
      waiter.resolve(take(line));
      return;
    }
  }

  #end(code) {
    alive.delete(this);
    rmSync(this.#home, { recursive: true, force: true });
    for (const waiter of this.#waiting) {
      clearTimeout(waiter.timer);
      waiter.reject(this.#error(`ended with ${code} and printed no ${waiter.name}`));
    }
    this.#waiting.clear();
    return code;
  }

  #error(what) {
    return new Error(`homing ${this.command.join(' ')} ${what}\n${this.#complaints}`);
  }
}

function take(line) {
  Object.defineProperty(line, 'taken', { value: true });
  return line;
}

/** Runs a command to its end. */
export async function run(args, options) {
  const command = new Homing(args, options);
  try {
    const code = await command.ended();
    const all = (name) => command.lines.filter((line) => line.event === name);
    return { code, lines: command.lines, all, one: (name) => all(name).at(-1) ?? null };
  } finally {
    await command.close();
  }
}
