// Waiting for a condition: never for a time.

import { setTimeout as pause } from 'node:timers/promises';

/** How long anything may take. Generous: only a failure waits that long. */
export const LIMIT_MS = 30_000;
const POLL_MS = 40;

/**
 * Asks `look` until `condition` holds of what it returned, and returns that. `what` is the wish, in words; a look that
 * throws counts as not yet.
 */
export async function until(what, look, condition, limit = LIMIT_MS) {
  const end = Date.now() + limit;
  let last;
  for (;;) {
    try {
      last = await look();
      if (condition(last)) {
        return last;
      }
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) {
      const seen = last instanceof Error ? String(last) : JSON.stringify(last);
      throw new Error(`waited ${limit / 1000} s in vain: ${what}\nlast seen: ${seen}`);
    }
    await pause(POLL_MS);
  }
}
