// S14: what an announcement signs, checked against the reference's golden vectors, then used to judge what
// the client of each side puts on the wire.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';

import { COMMAND } from '../lib/packets.js';
import { reference, subject } from '../lib/sides.js';
import { announceSignable, decodeAnnouncement, hash, keyPair, NS, verify } from '../lib/signed.js';
import { wire } from '../lib/stage.js';

const VECTORS = new URL('../../vectors/hyperdht/hyperdht-messages.json', import.meta.url);
const bytes = (hex) => hex && Buffer.from(hex, 'hex');

describe('signing', { concurrency: 4 }, () => {
  test('the signable of the harness is that of the vectors', () => {
    const { announce } = JSON.parse(readFileSync(VECTORS, 'utf8'));
    assert.ok(announce.length > 0);
    for (const vector of announce) {
      const peer = { publicKey: bytes(vector.publicKey), relayAddresses: vector.relayAddresses };
      const [target, nodeId, token, refresh] = ['target', 'nodeId', 'token', 'refresh'].map((key) => bytes(vector[key]));
      const signable = announceSignable({ target, nodeId, token, peer, refresh });
      assert.equal(signable.toString('hex'), vector.signable, vector.name);
      assert.ok(verify(bytes(vector.signature), signable, peer.publicKey), vector.name);
    }
  });

  for (const side of [reference, subject]) {
    test(`a ${side.name} announcement carries the signature of exactly that`, { timeout: 30_000 }, async (t) => {
      const storing = await wire(t);
      const token = randomBytes(32);
      const topic = randomBytes(32);
      const seed = randomBytes(32);
      const isAnnounce = (packet) => packet.kind === 'request' && !packet.internal && packet.command === COMMAND.ANNOUNCE;
      storing.serve((request) => ({ id: storing.id, token: isAnnounce(request) ? null : token }));

      const announcing = side.announce({ bootstrap: [storing.address], topic: topic.toString('hex'), seed: seed.toString('hex') });
      const announcements = [await storing.next(isAnnounce), await storing.next(isAnnounce)];
      t.after(async () => (await announcing).close());

      const { publicKey } = keyPair(seed);
      const targets = announcements.map((packet) => packet.target.toString('hex'));
      assert.deepEqual(new Set(targets), new Set([topic, hash(publicKey)].map((target) => target.toString('hex'))));
      for (const { target, token: echoed, value } of announcements) {
        const { peer, signature, refresh } = decodeAnnouncement(value);
        assert.deepEqual(echoed, token);
        assert.deepEqual(peer.publicKey, publicKey);
        const signable = announceSignable({ target, nodeId: storing.id, token, peer, refresh }, NS.ANNOUNCE);
        assert.ok(verify(signature, signable, publicKey));
      }
    });
  }
});
