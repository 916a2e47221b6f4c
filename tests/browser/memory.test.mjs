// The demo over the embedded store: what a newcomer sees.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { BROWSERS, launch } from './browsers.mjs';
import { complete, delivered, judge, numbered, reached } from './oracle.mjs';
import { staged } from './stage.mjs';

for (const name of BROWSERS) {
  describe(`${name}, embedded store`, () => {
    let browser;
    const on = (title, play) => test(title, staged(`${name} ${title}`, () => browser, 'memory', play));

    before(async () => (browser = await launch(name)));
    after(() => browser?.close());

    on('a change in one window arrives in the other', async (stage) => {
      const [one, two] = await stage.windowPair(await stage.gateway());
      const { quantity } = (await two.view()).orders[3];
      await one.click('[data-id="3"] .more');
      await one.choose(3, 'shipped');
      const same = ({ orders: { 3: order } }) =>
        order.quantity === quantity + 1 && order.status === 'shipped' && order.version === 3 && !order.pending;
      await one.until('the window shows its own change', same);
      const view = await two.until('the other window shows the change', same);
      const events = view.log.filter((entry) => entry.topics === 'orders/3');
      assert.deepEqual(events.map((entry) => [entry.kind, entry.type, entry.version]), [
        ['event', 'order.updated', '2'],
        ['event', 'order.updated', '3'],
      ]);
      assert.ok(events.every((entry) => entry.cursor), 'each event has a cursor');
      // A heartbeat may have lifted it since.
      assert.ok(reached(view.cursor, events.at(-1).cursor), `${view.cursor} is before ${events.at(-1).cursor}`);
    });

    on('an event published over HTTP is logged, and what it names is fetched again', async (stage) => {
      const gateway = await stage.gateway();
      const windows = await stage.windowPair(gateway);
      const published = [numbered(1, 'orders/5'), numbered(2, 'orders/6')];
      for (const event of published) {
        await gateway.publish(event);
      }
      await gateway.publish({ to: ['orders/1', 'orders/2', 'news'], type: 'test.many' });
      for (const window of windows) {
        const view = await window.until('all events are logged', (seen) =>
          seen.log.some((entry) => entry.type === 'test.many'));
        judge(view, published);
        const many = view.log.filter((entry) => entry.type === 'test.many');
        assert.deepEqual(many.map((entry) => entry.topics), ['orders/1 orders/2'], 'one event, its followed topics');
        await window.until('each named order was fetched', () => [1, 2, 5, 6].every((id) => window.fetched[id] > 0));
        assert.equal(window.fetched[7], undefined, 'an order that no event named was not fetched');
      }
    });

    on('a burst of events makes few fetches, and the last one counts', async (stage) => {
      const gateway = await stage.gateway();
      const window = await stage.window(gateway);
      const published = Array.from({ length: 100 }, (_, at) => numbered(at + 1, 'orders/3'));
      await gateway.publish(published);
      judge(await window.until('the burst is logged', (view) => complete(view, published)), published);
      await window.click('[data-id="3"] .more');
      await window.until('a change after it is shown', ({ orders }) => orders[3].version === 2 && !orders[3].pending);
      assert.ok(window.fetched[3] < published.length / 2, `${window.fetched[3]} fetches`);
    });

    on('the page fits a laptop, a tablet and a phone', async (stage) => {
      const window = await stage.window(await stage.gateway());
      for (const [width, height] of [[1280, 800], [820, 1180], [390, 844], [320, 640]]) {
        assert.ok((await window.overflowAt(width, height)) <= 0, `no scrolling sideways at ${width} x ${height}`);
      }
    });

    on('the heartbeat is shown and puts nothing into the log', async (stage) => {
      const window = await stage.window(await stage.gateway());
      const view = await window.until('a heartbeat came', (seen) => seen.heartbeat !== 'none yet');
      assert.deepEqual(view.log.map((entry) => entry.kind), ['ready']);
      assert.notEqual(view.connection, '–');
    });

    on('a dropped connection replays what it missed', async (stage) => {
      const gateway = await stage.gateway();
      const [one, two] = await stage.windowPair(gateway, '?drop=3');
      await gateway.publish(numbered(1, 'orders/1'));
      await one.until('the first event is there', (view) => delivered(view).length === 1);
      await one.click('#drop');
      await one.until('the connection is dropped', (view) => view.state === 'dropped');
      const missed = [2, 3, 4].map((number) => numbered(number, `orders/${number}`));
      for (const event of missed) {
        await gateway.publish(event);
      }
      await two.until('the other window has them', (view) => complete(view, missed));
      assert.equal(delivered(await one.view()).length, 1, 'the dropped window has none of them yet');
      const view = await one.until('the replay is there', (seen) => complete(seen, missed) && seen.state === 'live');
      judge(view, [numbered(1, 'orders/1'), ...missed]);
      assert.deepEqual(delivered(view).map((entry) => entry.kind), ['event', 'replayed', 'replayed', 'replayed']);
      await one.until('what was missed was fetched', () => [2, 3, 4].every((id) => one.fetched[id] > 0));
      await gateway.publish(numbered(5, 'orders/5'));
      const later = await one.until('the stream goes on', (seen) => delivered(seen).length === 5);
      assert.equal(delivered(later).at(-1).kind, 'event');
    });

    for (const signal of ['SIGKILL', 'SIGTERM']) {
      on(`after ${signal} a new history is told as a resync of every order`, async (stage) => {
        const gateway = await stage.gateway();
        const windows = await stage.windowPair(gateway);
        await windows[0].click('[data-id="1"] .more');
        for (const window of windows) {
          await window.until('the change is shown', ({ orders }) => orders[1].version === 2);
        }
        await gateway.end(signal);
        for (const window of windows) {
          await window.until('the loss is shown', (view) => view.state === 'reconnecting');
        }
        await gateway.start();
        for (const window of windows) {
          await window.until('the page is live again', (seen) => seen.state === 'live');
          // At a moment of its own within `stream.resync_spread`.
          const resynced = (seen) => seen.log.filter((entry) => entry.kind === 'resync').map((entry) => entry.topics);
          const view = await window.until('the loss is told', (seen) => resynced(seen).length === 8);
          assert.deepEqual(resynced(view).sort(), [1, 2, 3, 4, 5, 6, 7, 8].map((id) => `orders/${id}`));
          await window.until('the board is the new one', ({ orders }) => orders[1].version === 1);
          assert.equal(view.log.some((entry) => entry.kind === 'goodbye'), signal === 'SIGTERM');
        }
        await gateway.publish(numbered(1, 'orders/2'));
        for (const window of windows) {
          await window.until('the stream goes on', (view) => delivered(view).length === 1);
        }
      });
    }

    on('an answer that is no stream ends the page for good, and the button brings it back', async (stage) => {
      const gateway = await stage.gateway();
      const window = await stage.window(gateway);
      await window.refuseStreams(true);
      await gateway.end();
      await gateway.start();
      await window.until('the end is shown', (view) => view.state === 'dead');
      await window.refuseStreams(false);
      await window.click('#reconnect');
      await window.until('the page is live again', (view) => view.state === 'live');
    });
  });
}
