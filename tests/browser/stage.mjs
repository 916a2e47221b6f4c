// The stage of a test: two windows on one gateway, cleared away after, with pictures and logs if it failed.

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';

import { Gateway } from './gateway.mjs';
import { Redis } from './redis.mjs';
import { Window } from './window.mjs';

export class Stage {
  redis = null;
  gateways = [];
  windows = [];
  #browser;

  constructor(browser) {
    this.#browser = browser;
  }

  /** A gateway over this stage's store; `flags` are more settings. */
  async gateway(flags) {
    const gateway = await Gateway.start(this.redis, flags);
    this.gateways.push(gateway);
    return gateway;
  }

  /** A window on `gateway`. */
  async window(gateway, query = '') {
    const window = await Window.open(this.#browser, `${gateway.url}/${query}`);
    this.windows.push(window);
    return window;
  }

  /** Two windows on `gateway`. */
  async windowPair(gateway, query = '') {
    return [await this.window(gateway, query), await this.window(gateway, query)];
  }

  async clear() {
    for (const window of this.windows) {
      await window.close().catch(() => {});
    }
    for (const gateway of this.gateways) {
      await gateway.end();
    }
    await this.redis?.remove();
  }

  /** Tells what a failed test left behind. */
  async report(name) {
    const directory = process.env.TIDINGS_SCREENSHOTS;
    for (const [at, window] of this.windows.entries()) {
      if (directory) {
        const path = join(directory, `${name.replace(/[^a-z0-9]+/gi, '-')}-${at + 1}.png`);
        await mkdir(directory, { recursive: true });
        await window.screenshot(path).then(
          () => console.error(`picture: ${path}`),
          (error) => console.error(`no picture: ${error.message}`),
        );
      }
    }
    for (const child of [...this.gateways, this.redis].filter(Boolean)) {
      console.error(`last output of ${child.url}:\n${child.lines.slice(-20).join('\n')}`);
    }
  }
}

/** Wraps a test that needs a stage. `name` names the pictures, `over` is `redis` or `memory`. */
export function staged(name, browser, over, play) {
  return async () => {
    const stage = new Stage(browser());
    try {
      if (over === 'redis') {
        stage.redis = await Redis.start();
      }
      await play(stage);
      for (const window of stage.windows) {
        assert.deepEqual(await window.errors(), [], 'the page reported errors');
      }
    } catch (error) {
      await stage.report(name);
      throw error;
    } finally {
      await stage.clear();
    }
  };
}
