// The two sides of every test. With INTEROP_SUBJECT=reference the reference also plays Homing's part:
// that run tells whether the tests themselves are right.

import * as javascript from './reference.js';
import * as homing from './subject.js';

export const againstItself = process.env.INTEROP_SUBJECT === 'reference';

export const reference = javascript;
export const subject = againstItself ? { ...javascript, name: 'JavaScript in place of Rust' } : homing;

/** For `test` options: what the reference is known to do wrong, so its failure there is no news. */
export function defectOfReference(what) {
  return againstItself ? { todo: `known defect of the reference: ${what}` } : {};
}

/** A bootstrap node and `each` nodes of the first side, joined by as many of the second. */
export async function startMixed(first, second, each) {
  const founders = await first.startNetwork({ size: each + 1 });
  try {
    const joined = await second.startNetwork({ size: each, bootstrap: founders.bootstrap });
    const close = async () => {
      await joined.close();
      await founders.close();
    };
    return { bootstrap: founders.bootstrap, nodes: [...founders.nodes, ...joined.nodes], joined: joined.nodes, close };
  } catch (error) {
    await founders.close();
    throw error;
  }
}
