// The log: what the stream brought, newest first.

const KEPT = 200;

export class Log {
  #list;
  #counts;
  #seen = { event: 0, replayed: 0, resync: 0 };

  constructor(list, counts) {
    this.#list = list;
    this.#counts = counts;
  }

  /** Adds a line. The oldest goes when there are more than 200. */
  add({ kind, topics = [], text = '', id = '', data = {} }) {
    const entry = document.getElementById('entry').content.cloneNode(true).firstElementChild;
    const find = (selector) => entry.querySelector(selector);
    const now = new Date();
    Object.assign(entry.dataset, {
      kind,
      topics: topics.join(' '),
      type: data.type ?? '',
      version: data.version ?? '',
      cursor: id,
    });
    find('time').textContent = clock(now);
    find('time').dateTime = now.toISOString();
    find('.kind').textContent = kind;
    find('b').textContent = topics.length > 1 ? `${topics[0]} +${topics.length - 1}` : (topics[0] ?? '');
    find('.more').textContent = text;
    find('.at').textContent = data.version ? `v${data.version}` : '';
    find('.cursor').textContent = id;
    find('pre').textContent = `${id ? `id: ${id}\n` : ''}data: ${JSON.stringify(data, null, 2)}`;
    this.#list.prepend(entry);
    while (this.#list.childElementCount > KEPT) {
      this.#list.lastElementChild.remove();
    }
    this.#count(kind);
  }

  #count(kind) {
    if (kind in this.#seen) {
      this.#seen[kind] += 1;
    }
    const { event, replayed, resync } = this.#seen;
    const parts = [`${event + replayed} ${event + replayed === 1 ? 'event' : 'events'}`];
    if (replayed) {
      parts.push(`${replayed} replayed`);
    }
    if (resync) {
      parts.push(`${resync} resync`);
    }
    this.#counts.textContent = parts.join(' · ');
  }
}

function clock(time) {
  return [time.getHours(), time.getMinutes(), time.getSeconds()].map((part) => String(part).padStart(2, '0')).join(':');
}
