// The oracle: what became of each published event in a window. Delivered once and in order, or told as a resync.

import assert from 'node:assert/strict';

/** The type of the events that the tests number and publish. */
export const TYPE = 'test.numbered';

/** A numbered event; the number travels as its version. */
export function numbered(number, to) {
  return { to, type: TYPE, version: String(number), coalesce: false };
}

/** The entries of the log that stand for numbered events. */
export function delivered(view) {
  return view.log.filter((entry) => entry.type === TYPE);
}

/** Whether the log accounts for each of `published`: there is its entry, or a resync of its address. */
export function complete(view, published) {
  return published.every((event) => arrived(view, event).length > 0 || resynced(view, event));
}

/** Fails unless the log accounts for each of `published`, with none twice and none out of order. */
export function judge(view, published) {
  const missing = published.filter((event) => arrived(view, event).length === 0 && !resynced(view, event));
  assert.deepEqual(missing, [], 'events neither delivered nor resynced');
  const order = delivered(view).map((entry) => Number(entry.version));
  assert.deepEqual(order, [...new Set(order)].sort((a, b) => a - b), 'events twice or out of order');
}

/** Whether `cursor` is at or after `place`, both of one partition and one history. */
export function reached(cursor, place) {
  const [[form, epoch, at], [, , of]] = [cursor, place].map((text) => text.split('.'));
  const [[ms, seq], [least, leastSeq]] = [at, of].map((id) => id.split('-').map(Number));
  return place.startsWith(`${form}.${epoch}.`) && (ms > least || (ms === least && seq >= leastSeq));
}

function arrived(view, event) {
  return delivered(view).filter((entry) => entry.version === event.version && entry.topics === event.to);
}

function resynced(view, event) {
  return view.log.some((entry) => entry.kind === 'resync' && entry.topics.split(' ').includes(event.to));
}
