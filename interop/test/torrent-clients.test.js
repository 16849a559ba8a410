// BitTorrent clients of Debian find whom `homing announce` announced on Mainline.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { againstItself } from '../lib/sides.js';

const room = fileURLToPath(new URL('../lib/torrent-room.js', import.meta.url));
/** A namespace of users and one of the network, which end with the program. */
const apart = ['--map-root-user', '--net', '--pid', '--fork', '--kill-child'];

function lack(program) {
  if (spawnSync('unshare', [...apart, 'true']).status !== 0) return 'this machine grants no network namespace';
  const missing = [program, 'ip'].find((needed) => spawnSync(needed, ['-V']).error);
  return missing ? `${missing} is not installed` : false;
}

describe('BitTorrent clients', { skip: againstItself }, () => {
  for (const [client, program] of [
    ['aria2', 'aria2c'],
    ['transmission', 'transmission-daemon'],
  ]) {
    // transmission begins to look up to a minute after its start.
    test(`${client} connects to whom we announced`, { skip: lack(program), timeout: 120_000 }, () => {
      const said = execFileSync('unshare', [...apart, process.execPath, room, client], { timeout: 110_000, killSignal: 'SIGKILL' });
      const { from } = JSON.parse(said);
      assert.equal(from, '10.77.0.101');
    });
  }
});
