// Bare streams in a page, as many as a test wants: an EventSource each, and what it saw.

import { until } from './until.mjs';

export class Streams {
  #page;
  #context;

  /** Opens a page at `url`; it has no streams yet. */
  static async at(browser, url) {
    const streams = new Streams();
    streams.#context = await browser.createBrowserContext();
    streams.#page = await streams.#context.newPage();
    await streams.#page.goto(url);
    await streams.#page.evaluate(() => (globalThis.streams = []));
    return streams;
  }

  /** Opens one at each of `urls`, all at once. Each listens to the event names `names` too. */
  async open(urls, withCredentials = false, names = []) {
    await this.#page.evaluate((each, credentials, listened) => {
      for (const url of each) {
        const source = new EventSource(url, { withCredentials: credentials });
        const stream = { source, ready: 0, errors: 0, events: [], named: {} };
        for (const name of listened) {
          stream.named[name] = [];
          source.addEventListener(name, ({ data }) => stream.named[name].push(JSON.parse(data)));
        }
        source.addEventListener('tidings.ready', () => (stream.ready += 1));
        source.addEventListener('error', () => (stream.errors += 1));
        source.onmessage = ({ data }) => stream.events.push(JSON.parse(data));
        streams.push(stream);
      }
    }, urls, withCredentials, names);
  }

  /** Closes those that `from` and `to` count. */
  async close(from, to) {
    await this.#page.evaluate((first, end) => streams.slice(first, end).forEach(({ source }) => source.close()), from, to);
  }

  /** Asks for `url` while the streams are open. */
  async fetch(url) {
    return await this.#page.evaluate(async (what) => (await fetch(what)).status, url);
  }

  /** By which version of HTTP the streams came. */
  async versions() {
    return await this.#page.evaluate(() => {
      const entries = performance.getEntriesByType('resource');
      return [...new Set(entries.map((entry) => entry.nextHopProtocol).filter(Boolean))];
    });
  }

  /** What each has seen so far. */
  async view() {
    return await this.#page.evaluate(() =>
      streams.map(({ source, ready, errors, events, named }) =>
        ({ state: source.readyState, ready, errors, events, named })));
  }

  /** Waits until `condition` holds of all that they saw. */
  async until(what, condition) {
    return await until(what, () => this.view(), condition);
  }

  async end() {
    await this.#context.close();
  }
}

/** The states of an EventSource. */
export const [CONNECTING, OPEN, CLOSED] = [0, 1, 2];
