// One UDP socket on loopback that speaks dht-rpc by hand.

import { createSocket } from 'node:dgram';
import { once } from 'node:events';

import { id as idOf, parse, text } from './addresses.js';
import { decode, encodeRequest, encodeResponse, INTERNAL } from './packets.js';

const ANSWER_MS = 5_000;
// Long enough for a node to have answered what it got before, if it was going to.
const FENCE_MS = 200;

export class Wire {
  #socket = createSocket('udp4');
  #waiting = new Set();
  #kept = [];
  #tid = Math.floor(Math.random() * 0x10000);
  #answer = null;

  /** A socket that answers pings as a node does, unless told to keep `silent`. */
  static async open({ silent = false, port = 0 } = {}) {
    const wire = new Wire();
    if (!silent) wire.serve(() => null);
    wire.#socket.on('message', (bytes, from) => wire.#receive(bytes, text({ host: from.address, port: from.port })));
    wire.#socket.bind(port, '127.0.0.1');
    await once(wire.#socket, 'listening');
    return wire;
  }

  get port() {
    return this.#socket.address().port;
  }

  get address() {
    return `127.0.0.1:${this.port}`;
  }

  /** The node id that belongs to this address. */
  get id() {
    return idOf(this.address);
  }

  /** Every datagram received and not consumed by a waiting call, oldest first. */
  get kept() {
    return this.#kept;
  }

  close() {
    for (const waiter of this.#waiting) clearTimeout(waiter.timer);
    this.#socket.close();
  }

  send(bytes, to) {
    const { host, port } = parse(to);
    this.#socket.send(bytes, port, host);
  }

  /** Sends a request and says under which tid. */
  post(to, request) {
    const tid = request.tid ?? (this.#tid = (this.#tid + 1) & 0xffff);
    this.send(encodeRequest({ ...request, tid, to }), to);
    return tid;
  }

  /** Sends a request and waits for the response from that address. */
  async request(to, request, { within = ANSWER_MS } = {}) {
    const tid = this.post(to, request);
    return this.next((packet) => packet.kind === 'response' && packet.tid === tid && packet.from === to, { within });
  }

  /** Sends a request that must stay without any answer; true if it did. */
  async silence(to, request) {
    const tid = this.post(to, request);
    await this.fence(to);
    return !this.#kept.some((packet) => packet.tid === tid);
  }

  /** Waits until the node has had time to answer everything sent before. */
  async fence(to, delay = FENCE_MS) {
    const value = Buffer.alloc(4);
    value.writeUInt32LE(delay);
    await this.request(to, { internal: true, command: INTERNAL.DELAYED_PING, value }, { within: delay + ANSWER_MS });
  }

  /** Answers pings as a node does, and other requests with what `answer` makes of them (null: not at all). */
  serve(answer) {
    this.#answer = (request) => {
      if (request.internal && request.command === INTERNAL.PING) return { id: this.id };
      return answer(request);
    };
  }

  /** Answers nothing any more. */
  mute() {
    this.#answer = null;
  }

  respond(request, response) {
    this.send(encodeResponse({ tid: request.tid, to: request.from, ...response }), request.from);
  }

  /** The next datagram that matches, also among those kept. */
  next(matches, { within = ANSWER_MS } = {}) {
    const early = this.#kept.findIndex(matches);
    if (early >= 0) return Promise.resolve(this.#kept.splice(early, 1)[0]);
    const called = new Error(`nothing that fits within ${within} ms`);
    return new Promise((resolve, reject) => {
      const waiter = { matches, resolve };
      this.#waiting.add(waiter);
      waiter.timer = setTimeout(() => {
        this.#waiting.delete(waiter);
        reject(called);
      }, within);
    });
  }

  #receive(bytes, from) {
    const decoded = decode(bytes);
    const packet = { ...decoded, from, bytes, at: performance.now() };
    const answer = packet.kind === 'request' && this.#answer?.(packet);
    if (answer) this.respond(packet, answer);
    for (const waiter of this.#waiting) {
      if (!waiter.matches(packet)) continue;
      this.#waiting.delete(waiter);
      clearTimeout(waiter.timer);
      waiter.resolve(packet);
      return;
    }
    this.#kept.push(packet);
  }
}
