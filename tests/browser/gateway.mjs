// A gateway process on loopback, which can be taken away and brought back at the same ports.

import { fileURLToPath } from 'node:url';

import { Child } from './child.mjs';
import { until } from './until.mjs';

const BINARY =
  process.env.TIDINGS_GATEWAY ?? fileURLToPath(new URL('../../target/debug/tidings-gateway', import.meta.url));

export class Gateway {
  #flags;
  #child = null;
  #public = '127.0.0.1:0';
  #admin = '127.0.0.1:0';

  /** Starts a gateway over the embedded store, or over `redis`; `flags` are more settings. */
  static async start(redis, flags = {}) {
    const store = redis ? { 'store.url': redis.url, 'auth.insecure': 'true', 'demo.enabled': 'true' } : {};
    const quick = { 'stream.retry': '1s', 'stream.heartbeat': '2s', 'beacon.interval': '1s', 'stream.resync_spread': '1s' };
    const gateway = new Gateway({ ...store, ...quick, ...flags });
    await gateway.start();
    return gateway;
  }

  constructor(flags) {
    this.#flags = { ...flags, 'drain.grace': '0s', 'drain.window': '0s', 'log.format': 'json' };
  }

  /** Where browsers go. */
  get url() {
    return `${this.#isSecure ? 'https' : 'http'}://${this.#public}`;
  }

  get #isSecure() {
    return 'tls.cert' in this.#flags;
  }

  /** Where events are published: over Redis only the admin listener takes them, and it never speaks TLS. */
  get publishUrl() {
    return `http://${'store.url' in this.#flags || this.#isSecure ? this.#admin : this.#public}/v1/publish`;
  }

  /** The last lines that it logged. */
  get lines() {
    return this.#child.lines;
  }

  /** Starts it, at the ports that it had if it ran before. */
  async start() {
    let listening = null;
    const flags = { ...this.#flags, 'server.listen': this.#public, 'admin.listen': this.#admin };
    const args = Object.entries(flags).flatMap(([key, value]) => [`--${key}`, value]);
    this.#child = new Child(BINARY, args, (line) => (listening ??= announced(line)));
    const look = () => ({ listening, alive: this.#child.alive, log: this.#child.lines });
    await until('the gateway listens', look, (seen) => seen.listening !== null || !seen.alive);
    if (!listening) {
      throw new Error(`the gateway ended at its start:\n${this.lines.join('\n')}`);
    }
    this.#public = listening.public;
    this.#admin = listening.admin;
  }

  /** Ends it: `SIGTERM` lets it say goodbye, `SIGKILL` does not. */
  async end(signal = 'SIGKILL') {
    await this.#child.end(signal);
  }

  /** Publishes an event or an array of them; while the store is away, tries again. */
  async publish(event) {
    const look = async () => {
      const answer = await fetch(this.publishUrl, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(event),
      });
      return { status: answer.status, body: await answer.json() };
    };
    const { status, body } = await until('an event is taken', look, (answer) => answer.status !== 503);
    if (status !== 200) {
      throw new Error(`publishing was answered ${status}: ${JSON.stringify(body)}`);
    }
  }
}

function announced(line) {
  try {
    const entry = JSON.parse(line);
    return entry.message === 'listening' ? entry : null;
  } catch {
    return null;
  }
}
