// The demo over Redis, while gateways and Redis go away and come back: nothing is missed without being told.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { BROWSERS, launch } from './browsers.mjs';
import { complete, delivered, judge, numbered } from './oracle.mjs';
import { staged } from './stage.mjs';

const ORDERS = [1, 2, 3, 4, 5, 6, 7, 8];

/** Publishes `count` more events, one after the other, each to the next order. */
async function publish(gateway, published, count) {
  for (let left = count; left > 0; left -= 1) {
    const number = published.length + 1;
    const event = numbered(number, `orders/${((number - 1) % ORDERS.length) + 1}`);
    await gateway.publish(event);
    published.push(event);
  }
}

async function judgeAll(windows, published) {
  for (const window of windows) {
    const accounted = (view) => view.state === 'live' && complete(view, published);
    const view = await window.until('every event is accounted for', accounted).catch(async (error) => {
      // Which event is missing says more than what was seen.
      judge(await window.view(), published);
      throw error;
    });
    judge(view, published);
  }
}

for (const name of BROWSERS) {
  describe(`${name}, Redis`, () => {
    let browser;
    const on = (title, play) => test(title, staged(`${name} ${title}`, () => browser, 'redis', play));

    before(async () => (browser = await launch(name)));
    after(() => browser?.close());

    on('an event published at one gateway reaches the windows of two', async (stage) => {
      const [here, there] = [await stage.gateway(), await stage.gateway()];
      const windows = [await stage.window(here), await stage.window(there)];
      const published = [];
      await publish(here, published, 8);
      await publish(there, published, 8);
      await judgeAll(windows, published);
      for (const window of windows) {
        await window.until('each order was fetched again', () => ORDERS.every((id) => window.fetched[id] > 0));
      }
    });

    for (const signal of ['SIGKILL', 'SIGTERM']) {
      on(`nothing is missed over ${signal} of the gateway and its restart`, async (stage) => {
        const [gateway, publisher] = [await stage.gateway(), await stage.gateway()];
        const windows = await stage.windowPair(gateway);
        const published = [];
        await publish(publisher, published, 10);
        for (const window of windows) {
          await window.until('the first events are there', (view) => delivered(view).length === 10);
        }
        // Some events go out while it dies, some while it is gone, some while it comes back.
        await Promise.all([gateway.end(signal), publish(publisher, published, 10)]);
        for (const window of windows) {
          await window.until('the loss is shown', (view) => view.state === 'reconnecting');
        }
        await publish(publisher, published, 10);
        await Promise.all([gateway.start(), publish(publisher, published, 10)]);
        await judgeAll(windows, published);
        for (const window of windows) {
          const view = await window.view();
          const back = delivered(view).filter((entry) => entry.kind === 'replayed').length;
          const resynced = view.log.some((entry) => entry.kind === 'resync');
          assert.ok(back >= 10 || resynced, `what was missed is shown as such: ${back} replayed`);
        }
        await publish(publisher, published, 3);
        await judgeAll(windows, published);
      });
    }

    on('a dropped connection replays what it missed', async (stage) => {
      const gateway = await stage.gateway();
      const window = await stage.window(gateway, '?drop=3');
      const published = [];
      await publish(gateway, published, 2);
      await judgeAll([window], published);
      await window.click('#drop');
      await window.until('the connection is dropped', (view) => view.state === 'dropped');
      await publish(gateway, published, 4);
      await judgeAll([window], published);
      const kinds = delivered(await window.view()).map((entry) => entry.kind);
      assert.deepEqual(kinds, ['event', 'event', 'replayed', 'replayed', 'replayed', 'replayed']);
    });

    on('the windows survive a restart of Redis with its data', async (stage) => {
      const gateway = await stage.gateway();
      const windows = await stage.windowPair(gateway);
      const published = [];
      await publish(gateway, published, 5);
      await judgeAll(windows, published);
      await stage.redis.end();
      await stage.redis.start();
      await publish(gateway, published, 5);
      await judgeAll(windows, published);
    });

    on('a Redis that lost its data is told as a resync of every order', async (stage) => {
      const gateway = await stage.gateway();
      const windows = await stage.windowPair(gateway);
      const published = [];
      await publish(gateway, published, 5);
      await judgeAll(windows, published);
      await stage.redis.end();
      await stage.redis.wipe();
      await stage.redis.start();
      for (const window of windows) {
        await window.until('every order is resynced', (view) => {
          const told = view.log.filter((entry) => entry.kind === 'resync').map((entry) => entry.topics);
          return view.state === 'live' && ORDERS.every((id) => told.includes(`orders/${id}`));
        });
        await window.until('every order was fetched again', () => ORDERS.every((id) => window.fetched[id] > 0));
      }
      const later = numbered(published.length + 1, 'orders/4');
      await gateway.publish(later);
      for (const window of windows) {
        await window.until('the stream goes on', (view) => delivered(view).some((e) => e.version === later.version));
      }
    });
  });
}
