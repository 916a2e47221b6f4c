// A web site around the README's first page: its web server, and a backend that can fail.

import { readFile } from 'node:fs/promises';
import { once } from 'node:events';
import http from 'node:http';
import { pipeline } from 'node:stream';

const README = new URL('../../README.md', import.meta.url);
const FIRST_PAGE = /^## A first page$.*?^```html$\n(.*?)^```$/ms;

export class Site {
  /** What the backend does: `answers`, `fails`, `is away` or `is late`. */
  backend = 'answers';
  /** Whether the proxy in front of the gateways answers streams with 503. */
  refusesStreams = false;
  /** What the backend has. */
  order = { status: 'new' };
  /** How many requests that the backend left waiting were aborted by the page. */
  aborted = 0;
  /** How many streams were answered with 503. */
  refused = 0;
  #gateway;
  #page;
  #server;

  /** Serves the page that README.md shows, in front of `gateway`. */
  static async start(gateway) {
    const [, page] = (await readFile(README, 'utf8')).match(FIRST_PAGE) ?? [];
    if (!page) {
      throw new Error('README.md has no block of html below "## A first page"');
    }
    const site = new Site();
    site.#gateway = gateway;
    site.#page = page;
    site.#server = http.createServer((request, response) => site.#serve(request, response));
    site.#server.listen(0, '127.0.0.1');
    await once(site.#server, 'listening');
    return site;
  }

  get url() {
    return `http://127.0.0.1:${this.#server.address().port}/`;
  }

  /** Changes the order and publishes that it changed. */
  async change(status) {
    this.order = { status };
    await this.#gateway.publish({ to: 'orders/3' });
  }

  async end() {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #serve(request, response) {
    if (request.url.startsWith('/v1/')) {
      return this.#stream(request, response);
    }
    if (request.url === '/demo/orders/3') {
      return this.#answer(response);
    }
    if (request.url === '/') {
      response.setHeader('Content-Type', 'text/html');
      return response.end(this.#page);
    }
    return response.writeHead(404).end();
  }

  #answer(response) {
    if (this.backend === 'is away') {
      return response.destroy();
    }
    if (this.backend === 'is late') {
      return response.on('close', () => (this.aborted += 1));
    }
    const failure = this.backend === 'fails';
    response.writeHead(failure ? 500 : 200, { 'Content-Type': 'application/json' });
    return response.end(JSON.stringify(failure ? { title: 'a problem body' } : this.order));
  }

  #stream({ url, method, headers }, response) {
    if (this.refusesStreams) {
      this.refused += 1;
      return response.writeHead(503).end();
    }
    const upstream = http.request(new URL(url, this.#gateway.url), { method, headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      pipeline(answer, response, () => {});
    });
    response.on('close', () => upstream.destroy());
    upstream.on('error', () => response.destroy());
    return upstream.end();
  }
}
