// The board: what the backend says of each order, fetched again whenever an event names it.
//
// What is shown comes from GET alone, one at a time for each order, so that an older answer can never replace a newer.
// Only a change that this page itself is saving is laid over it meanwhile.

import { Card } from './card.js';

const ORDERS = '/demo/orders';
const JSON_BODY = { 'Content-Type': 'application/json' };
const RETRY_MS = 1000;
const TIMEOUT_MS = 5000;

export class Board {
  #rows = new Map();
  #notice;
  #loading = false;

  /** Puts a card for each id into `list`. `notice` is told, in words, of what could not be saved. */
  constructor(list, ids, notice) {
    this.#notice = notice;
    for (const id of ids) {
      // No single order is fetched before all were: until then each row is held as if its fetch were under way.
      const row = { id, order: null, wanted: null, saving: false, fetching: true, stale: false, named: false };
      row.card = new Card(id, (change) => this.#want(row, change));
      this.#rows.set(id, row);
      list.append(row.card.element);
    }
  }

  /** Fetches all orders, once; afterwards the events tell what to fetch. */
  async load() {
    if (this.#loading) {
      return;
    }
    this.#loading = true;
    const orders = await untilAnswered(ORDERS);
    for (const order of orders) {
      const row = this.#rows.get(order.id);
      if (row) {
        this.#show(row, order);
        row.fetching = false;
        this.#fetch(row);
      }
    }
  }

  /** Fetches an order again because an event named it. Many calls in a row make few fetches. */
  refresh(id) {
    const row = this.#rows.get(id);
    if (row) {
      row.stale = true;
      row.named = true;
      this.#fetch(row);
    }
  }

  /**
   * At most one fetch of an order is in flight; what names it meanwhile is served by one more after it. An event does
   * not come twice, so a fetch that fails is tried until it succeeds.
   */
  async #fetch(row) {
    if (row.fetching) {
      return;
    }
    row.fetching = true;
    while (row.stale) {
      row.stale = false;
      this.#show(row, await untilAnswered(`${ORDERS}/${row.id}`));
    }
    row.fetching = false;
  }

  #show(row, order) {
    row.order = order;
    // A fetch that began before the last PUT ended may not have seen it; that PUT has left the row stale.
    if (!row.saving && !row.stale) {
      row.wanted = null;
    }
    this.#paint(row);
    if (row.named && !row.stale) {
      row.named = false;
      row.card.flash();
    }
  }

  #paint(row) {
    row.card.paint({ ...row.order, ...row.wanted }, row.wanted !== null);
  }

  /** Shows a change at once and saves it; clicks that come while a PUT is under way go out together in the next. */
  async #want(row, change) {
    row.wanted = { ...row.wanted, ...change };
    this.#paint(row);
    if (row.saving) {
      return;
    }
    row.saving = true;
    let sent = null;
    while (row.wanted && row.wanted !== sent) {
      sent = row.wanted;
      try {
        await ask(`${ORDERS}/${row.id}`, { method: 'PUT', headers: JSON_BODY, body: JSON.stringify(sent) });
      } catch (error) {
        this.#notice(`orders/${row.id} was not saved: ${error.message}.`);
        row.wanted = null;
        this.#paint(row);
      }
    }
    row.saving = false;
    row.stale = true;
    this.#fetch(row);
  }
}

async function untilAnswered(url) {
  for (;;) {
    try {
      return await ask(url);
    } catch {
      await new Promise((done) => setTimeout(done, RETRY_MS));
    }
  }
}

async function ask(url, options = {}) {
  let answer;
  try {
    answer = await fetch(url, { ...options, cache: 'no-store', signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch {
    throw new Error('the backend does not answer');
  }
  const body = await answer.json().catch(() => null);
  if (!answer.ok || body === null) {
    throw new Error(body?.detail ?? `the backend answered ${answer.status}`);
  }
  return body;
}
