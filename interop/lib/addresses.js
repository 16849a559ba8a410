// Addresses are `host:port` text in the harness, and six bytes on the wire.

import peer from 'dht-rpc/lib/peer.js';

export function parse(address) {
  if (typeof address !== 'string') return { host: address.host, port: address.port };
  const [host, port] = address.split(':');
  return { host, port: Number(port) };
}

export function text(address) {
  return typeof address === 'string' ? address : `${address.host}:${address.port}`;
}

/** The node id of an address: its BLAKE2b-256. */
export function id(address) {
  const { host, port } = parse(address);
  return peer.id(host, port);
}

export function sixBytes(address) {
  const bytes = Buffer.alloc(6);
  peer.ipv4.encode({ start: 0, end: 6, buffer: bytes }, parse(address));
  return bytes;
}

/** Orders addresses by the XOR distance of their ids to a target. */
export function byDistance(target) {
  const distance = (address) => Buffer.from(id(address).map((byte, i) => byte ^ target[i]));
  return (a, b) => Buffer.compare(distance(a), distance(b));
}
