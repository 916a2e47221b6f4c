// A redis-server process on a private port, with or without its data after a restart.

import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Child } from './child.mjs';
import { until } from './until.mjs';

export class Redis {
  #port;
  #directory;
  #child = null;

  static async start() {
    const redis = new Redis(await freePort(), await mkdtemp(join(tmpdir(), 'tidings-redis-')));
    await redis.start();
    return redis;
  }

  constructor(port, directory) {
    this.#port = port;
    this.#directory = directory;
  }

  get url() {
    return `redis://127.0.0.1:${this.#port}`;
  }

  get lines() {
    return this.#child.lines;
  }

  /** Starts it and waits until it serves. Every write is on disk before it is answered. */
  async start() {
    const flags = { port: this.#port, bind: '127.0.0.1', dir: this.#directory, save: '', appendonly: 'yes', appendfsync: 'always' };
    const args = Object.entries(flags).flatMap(([key, value]) => [`--${key}`, String(value)]);
    this.#child = new Child(process.env.REDIS_SERVER ?? 'redis-server', args);
    await until('redis-server serves', () => this.#ping(), (answer) => answer.startsWith('+PONG'));
  }

  /** Ends it at once, as a crash does. */
  async end() {
    await this.#child.end('SIGKILL');
  }

  /** Forgets its data; only while it is down. */
  async wipe() {
    await rm(join(this.#directory, 'appendonlydir'), { recursive: true, force: true });
  }

  /** Ends it for good. */
  async remove() {
    await this.end();
    await rm(this.#directory, { recursive: true, force: true });
  }

  #ping() {
    return new Promise((done, failed) => {
      const socket = connect(this.#port, '127.0.0.1', () => socket.write('PING\r\n'));
      socket.setTimeout(1000, () => socket.destroy(new Error('no answer')));
      socket.once('error', failed);
      socket.once('data', (data) => {
        socket.end();
        done(data.toString());
      });
    });
  }
}

function freePort() {
  return new Promise((done, failed) => {
    const server = createServer();
    server.once('error', failed);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });
}
