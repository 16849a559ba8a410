// dht-rpc datagrams, written and read apart from the reference's own connection handling, so that a test can
// send what the reference never would.

import c from 'compact-encoding';
import peer from 'dht-rpc/lib/peer.js';

import { parse, sixBytes, text } from './addresses.js';

export const REQUEST = 0x03;
export const RESPONSE = 0x13;

export const INTERNAL = { PING: 0, PING_NAT: 1, FIND_NODE: 2, DOWN_HINT: 3, DELAYED_PING: 4 };
export const COMMAND = {
  PEER_HANDSHAKE: 0,
  PEER_HOLEPUNCH: 1,
  FIND_PEER: 2,
  LOOKUP: 3,
  ANNOUNCE: 4,
  UNANNOUNCE: 5,
  MUTABLE_PUT: 6,
  MUTABLE_GET: 7,
  IMMUTABLE_PUT: 8,
  IMMUTABLE_GET: 9,
};
export const ERROR = { UNKNOWN_COMMAND: 1, INVALID_TOKEN: 2, SEQ_REUSED: 16, SEQ_TOO_LOW: 17 };

const REQUEST_FLAG = { id: 1, token: 2, internal: 4, target: 8, value: 16 };
const RESPONSE_FLAG = { id: 1, token: 2, closer: 4, error: 8, value: 16 };

function encode(encoding, value) {
  return Buffer.from(c.encode(encoding, value));
}

function tidBytes(tid) {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(tid);
  return bytes;
}

/** `extraFlags` are or-ed into the flags, `trailing` follows the last field. */
export function encodeRequest({ tid, to, id, token, internal, command, target, value, extraFlags = 0, trailing }) {
  let flags = extraFlags;
  if (id) flags |= REQUEST_FLAG.id;
  if (token) flags |= REQUEST_FLAG.token;
  if (internal) flags |= REQUEST_FLAG.internal;
  if (target) flags |= REQUEST_FLAG.target;
  if (value) flags |= REQUEST_FLAG.value;
  const parts = [Buffer.from([REQUEST, flags]), tidBytes(tid), sixBytes(to)];
  if (id) parts.push(id);
  if (token) parts.push(token);
  parts.push(encode(c.uint, command));
  if (target) parts.push(target);
  if (value) parts.push(encode(c.buffer, value));
  if (trailing) parts.push(trailing);
  return Buffer.concat(parts);
}

export function encodeResponse({ tid, to, id, token, closer, error, value }) {
  let flags = 0;
  if (id) flags |= RESPONSE_FLAG.id;
  if (token) flags |= RESPONSE_FLAG.token;
  if (closer) flags |= RESPONSE_FLAG.closer;
  if (error) flags |= RESPONSE_FLAG.error;
  if (value) flags |= RESPONSE_FLAG.value;
  const parts = [Buffer.from([RESPONSE, flags]), tidBytes(tid), sixBytes(to)];
  if (id) parts.push(id);
  if (token) parts.push(token);
  if (closer) parts.push(encode(peer.ipv4Array, closer.map(parse)));
  if (error) parts.push(encode(c.uint, error));
  if (value) parts.push(encode(c.buffer, value));
  return Buffer.concat(parts);
}

/** Either kind of datagram, or null. */
export function decode(bytes) {
  const state = { start: 2, end: bytes.length, buffer: bytes };
  try {
    if (bytes[0] === REQUEST) return decodeRequest(bytes[1], state);
    if (bytes[0] === RESPONSE) return decodeResponse(bytes[1], state);
  } catch {
    // A short datagram: null, as for any other that is no dht-rpc.
  }
  return null;
}

function decodeRequest(flags, state) {
  return {
    kind: 'request',
    tid: c.uint16.decode(state),
    to: text(peer.ipv4.decode(state)),
    id: flags & REQUEST_FLAG.id ? c.fixed32.decode(state) : null,
    token: flags & REQUEST_FLAG.token ? c.fixed32.decode(state) : null,
    internal: (flags & REQUEST_FLAG.internal) !== 0,
    command: c.uint.decode(state),
    target: flags & REQUEST_FLAG.target ? c.fixed32.decode(state) : null,
    value: flags & REQUEST_FLAG.value ? Buffer.from(c.buffer.decode(state) ?? []) : null,
  };
}

function decodeResponse(flags, state) {
  return {
    kind: 'response',
    tid: c.uint16.decode(state),
    to: text(peer.ipv4.decode(state)),
    id: flags & RESPONSE_FLAG.id ? c.fixed32.decode(state) : null,
    token: flags & RESPONSE_FLAG.token ? c.fixed32.decode(state) : null,
    closer: flags & RESPONSE_FLAG.closer ? peer.ipv4Array.decode(state).map(text) : null,
    error: flags & RESPONSE_FLAG.error ? c.uint.decode(state) : 0,
    value: flags & RESPONSE_FLAG.value ? Buffer.from(c.buffer.decode(state) ?? []) : null,
  };
}
