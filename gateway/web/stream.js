// The stream: one native EventSource, and the cursor that it has reached.
//
// An EventSource comes back by itself and sends its last id along. The cursor is kept here only for the cases in which
// the page opens a new one: after it closed the old one, or after an answer that ended it for good.

export class Stream {
  #topics;
  #on;
  #source = null;
  #cursor = '';
  #ready = false;

  /** `on` has a function for each of state, cursor, ready, message, tick and goodbye. */
  constructor(topics, on) {
    this.#topics = topics;
    this.#on = on;
  }

  /** Connects, and resumes after the last cursor if there is one. */
  open() {
    this.#source?.close();
    this.#ready = false;
    this.#on.state('connecting');
    const source = new EventSource(this.#url());
    this.#source = source;
    source.addEventListener('message', (event) => {
      this.#on.message(JSON.parse(event.data), this.#reached(event), !this.#ready);
    });
    source.addEventListener('tidings.ready', (event) => {
      this.#ready = true;
      this.#on.state('live');
      this.#on.ready(JSON.parse(event.data), this.#reached(event));
    });
    source.addEventListener('tidings.tick', (event) => this.#on.tick(this.#reached(event)));
    source.addEventListener('tidings.goodbye', (event) => this.#on.goodbye(JSON.parse(event.data)));
    source.addEventListener('error', () => this.#lost(source));
  }

  /** Ends the stream until `open`. */
  close() {
    this.#source?.close();
    this.#ready = false;
    this.#on.state('dropped');
  }

  #url() {
    const query = new URLSearchParams(this.#topics.map((topic) => ['topic', topic]));
    if (this.#cursor) {
      query.set('cursor', this.#cursor);
    }
    return `/v1/events?${query}`;
  }

  /** A message without an id of its own carries the last one: taking it again is harmless. */
  #reached(event) {
    if (event.lastEventId && event.lastEventId !== this.#cursor) {
      this.#cursor = event.lastEventId;
      this.#on.cursor(this.#cursor);
    }
    return event.lastEventId;
  }

  /** The error event comes at each attempt that fails; only the first changes anything. */
  #lost(source) {
    const dead = source.readyState === EventSource.CLOSED;
    if (dead || this.#ready) {
      this.#on.state(dead ? 'dead' : 'reconnecting');
    }
    this.#ready = false;
  }
}
