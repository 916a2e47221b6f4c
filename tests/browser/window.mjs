// A window that shows the demo page, alone in its own profile, and what a user sees in it.

import { until } from './until.mjs';

export class Window {
  #context;
  #page;
  #refuse = false;
  #intercepts = false;
  #errors = [];
  /** How often each order was fetched on its own. */
  fetched = {};

  /** Opens `url` and waits until the stream is live and the board is shown. */
  static async open(browser, url) {
    const context = await browser.createBrowserContext();
    const window = new Window(context, await context.newPage());
    await window.#page.evaluateOnNewDocument(() => {
      globalThis.forbidden = [];
      addEventListener('securitypolicyviolation', (event) => forbidden.push(`${event.violatedDirective} ${event.blockedURI}`));
    });
    await window.#page.goto(url);
    await window.until('the page is live', (view) => view.state === 'live' && Object.keys(view.orders).length === 8);
    return window;
  }

  constructor(context, page) {
    this.#context = context;
    this.#page = page;
    // Firefox counts a stream that broke among the errors of scripts; here streams break on purpose.
    page.on('pageerror', ({ message }) => message.includes('/v1/events') || this.#errors.push(message));
    page.on('response', (answer) => {
      const id = /\/demo\/orders\/(\d+)$/.exec(answer.url())?.[1];
      if (id && answer.request().method() === 'GET' && answer.ok()) {
        this.fetched[id] = (this.fetched[id] ?? 0) + 1;
      }
    });
  }

  /** What it shows now; the log oldest first. */
  async view() {
    return await this.#page.evaluate(() => {
      const text = (id) => document.getElementById(id).textContent;
      const orders = [...document.querySelectorAll('.order[data-version]')].map((card) => [
        card.dataset.id,
        {
          quantity: Number(card.querySelector('output').textContent),
          status: card.dataset.status,
          version: Number(card.dataset.version),
          pending: card.classList.contains('pending'),
        },
      ]);
      const log = [...document.querySelectorAll('#log li')].reverse().map((entry) => ({ ...entry.dataset }));
      return {
        state: document.body.dataset.state,
        connection: text('connection'),
        cursor: text('cursor'),
        heartbeat: text('heartbeat'),
        notice: document.getElementById('notice').hidden ? '' : text('notice'),
        orders: Object.fromEntries(orders),
        log,
      };
    });
  }

  /** Waits until `condition` holds of the view, and returns that view. */
  async until(what, condition) {
    return await until(what, () => this.view(), condition);
  }

  /** Clicks what `selector` finds. */
  async click(selector) {
    await this.#page.click(selector);
  }

  /** Chooses the status of an order. */
  async choose(id, status) {
    await this.#page.select(`[data-id="${id}"] select`, status);
  }

  /** Scripts that failed, and what the page's security policy forbade. */
  async errors() {
    return [...this.#errors, ...(await this.#page.evaluate(() => forbidden))];
  }

  /** Makes the window that large, and tells by how many pixels the page is wider. */
  async overflowAt(width, height) {
    await this.#page.setViewport({ width, height });
    return await this.#page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  }

  /** Answers each new stream with what some proxies answer when they have no gateway: to an EventSource the end. */
  async refuseStreams(refuse) {
    this.#refuse = refuse;
    if (!this.#intercepts) {
      this.#intercepts = true;
      await this.#page.setRequestInterception(true);
      this.#page.on('request', (request) =>
        this.#refuse && request.url().includes('/v1/events')
          ? request.respond({ status: 503, body: 'no gateway' })
          : request.continue());
    }
  }

  async screenshot(path) {
    await this.#page.screenshot({ path, fullPage: true });
  }

  async close() {
    await this.#context.close();
  }
}
