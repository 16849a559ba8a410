// Announcements and mutable records, signed here with libsodium and encoded by the reference's own encodings.

import c from 'compact-encoding';
import constants from 'hyperdht/lib/constants.js';
import messages from 'hyperdht/lib/messages.js';
import sodium from 'sodium-universal';

const { NS } = constants;

export function keyPair(seed) {
  const publicKey = Buffer.alloc(32);
  const secretKey = Buffer.alloc(64);
  if (seed) sodium.crypto_sign_seed_keypair(publicKey, secretKey, seed);
  else sodium.crypto_sign_keypair(publicKey, secretKey);
  return { publicKey, secretKey };
}

export function hash(...parts) {
  const out = Buffer.alloc(32);
  sodium.crypto_generichash_batch(out, parts);
  return out;
}

function sign(message, { secretKey }) {
  const signature = Buffer.alloc(64);
  sodium.crypto_sign_detached(signature, message, secretKey);
  return signature;
}

/** What an announcement signs: the namespace, then a hash that ties it to topic, storing node and token. */
export function announceSignable({ target, nodeId, token, peer, refresh }, namespace = NS.ANNOUNCE) {
  const record = c.encode(messages.peer, peer);
  return Buffer.concat([namespace, hash(target, nodeId, token, record, refresh ?? Buffer.alloc(0))]);
}

export function verify(signature, message, publicKey) {
  return sodium.crypto_sign_verify_detached(signature, message, publicKey);
}

export function announcement({ target, nodeId, token, keys, relays = [], bump = 0 }) {
  const peer = { publicKey: keys.publicKey, relayAddresses: relays };
  const signature = sign(announceSignable({ target, nodeId, token, peer }), keys);
  return c.encode(messages.announce, { peer, signature, bump });
}

export function unannouncement({ target, nodeId, token, keys }, namespace = NS.UNANNOUNCE) {
  const peer = { publicKey: keys.publicKey, relayAddresses: [] };
  const signature = sign(announceSignable({ target, nodeId, token, peer }, namespace), keys);
  return c.encode(messages.announce, { peer, signature });
}

function signedRecord({ keys, seq, value }) {
  const signable = c.encode(messages.mutableSignable, { seq, value });
  return { seq, value, signature: sign(Buffer.concat([NS.MUTABLE_PUT, hash(signable)]), keys) };
}

/** What a client sends to have a record stored. */
export function mutableRecord({ keys, ...record }) {
  return c.encode(messages.mutablePutRequest, { publicKey: keys.publicKey, ...signedRecord({ keys, ...record }) });
}

/** What a node answers that stores the record. */
export function mutableAnswer(record) {
  return Buffer.from(c.encode(messages.mutableGetResponse, signedRecord(record)));
}

export function decodePeers(value) {
  return value ? c.decode(messages.lookupRawReply, value) : { peers: [], bump: 0 };
}

export function decodePeer(value) {
  return value && c.decode(messages.peer, value);
}

export function decodeAnnouncement(value) {
  return c.decode(messages.announce, value);
}

export function decodeRecord(value) {
  return value && c.decode(messages.mutableGetResponse, value);
}

export const handshake = {
  encode: (envelope) => c.encode(messages.handshake, envelope),
  decode: (bytes) => c.decode(messages.handshake, bytes),
};

export const holepunch = {
  encode: (envelope) => c.encode(messages.holepunch, envelope),
  decode: (bytes) => c.decode(messages.holepunch, bytes),
};

export { NS };
