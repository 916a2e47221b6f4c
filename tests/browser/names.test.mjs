// Pages that listen to one event name alone: what they hear, and that no loss is silent to them.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { BROWSERS, launch } from './browsers.mjs';
import { staged } from './stage.mjs';
import { Streams } from './streams.mjs';

const NAMES = ['changed', 'mine'];
const isResync = (event) => event.resync === true;

for (const name of BROWSERS) {
  describe(`${name}, event names`, () => {
    let browser;
    const on = (title, play) =>
      test(title, staged(`${name} ${title}`, () => browser, 'redis', async (stage) => {
        const gateway = await stage.gateway({ 'cors.origins': '*', 'demo.enabled': 'true' });
        const streams = await Streams.at(browser, `${gateway.url}/`);
        try {
          await play(stage, gateway, streams);
        } finally {
          await streams.end();
        }
      }));

    before(async () => (browser = await launch(name)));
    after(() => browser?.close());

    /** One stream without a name and one with. */
    async function open(streams, gateway, topic) {
      const url = `${gateway.url}/v1/events?topic=${topic}`;
      await streams.open([url, `${url}&name=mine`], false, NAMES);
      await streams.until('both are ready', (view) => view.every(({ ready }) => ready === 1));
    }

    on('a publisher\'s name is heard by its listeners, and a name of the connection by its own', async (_, gateway, streams) => {
      await open(streams, gateway, 'a');
      await gateway.publish([{ to: 'a', version: '1' }, { to: 'a', version: '2', event: 'changed' }]);
      const [without, own] = await streams.until('all is there', ([first, second]) =>
        first.named.changed.length === 1 && second.named.mine.length === 2);
      const versions = (events) => events.map(({ version }) => version);
      assert.deepEqual([versions(without.events), versions(without.named.changed)], [['1'], ['2']]);
      assert.deepEqual([versions(own.named.mine), own.events, own.named.changed], [['1', '2'], [], []]);
    });

    on('a loss is heard under a name that the gateway knows, and under one of the connection', async (stage, gateway, streams) => {
      await open(streams, gateway, 'a');
      await gateway.publish({ to: 'a', event: 'changed' });
      await streams.until('the name is known', ([first]) => first.named.changed.length === 1);
      await stage.redis.end();
      await stage.redis.wipe();
      await stage.redis.start();
      const view = await streams.until('the loss is heard', ([first, second]) =>
        first.events.some(isResync) && first.named.changed.some(isResync) && second.named.mine.some(isResync));
      assert.deepEqual(view[1].events, [], 'nothing comes beside the name');
    });

    on('under a name that nobody remembers a loss is heard by who has it as its own', async (stage, gateway, streams) => {
      await open(streams, gateway, 'quiet');
      await stage.redis.end();
      await stage.redis.wipe();
      await stage.redis.start();
      const [without] = await streams.until('the loss is heard', ([first, second]) =>
        first.events.some(isResync) && second.named.mine.some(isResync));
      assert.deepEqual(without.named.changed, [], 'no page may listen to such a name alone');
    });
  });
}
