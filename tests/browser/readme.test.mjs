// The first page of README.md, as it is printed there, while its backend and its gateway come and go.

import { after, before, describe, test } from 'node:test';

import { BROWSERS, launch } from './browsers.mjs';
import { Site } from './site.mjs';
import { staged } from './stage.mjs';
import { until } from './until.mjs';

const LIVE = /^Live/;
const DISCONNECTED = /^Disconnected/;
const CANNOT_LOAD = /^Cannot load/;

for (const name of BROWSERS) {
  describe(`${name}, the README's page`, () => {
    let browser;
    const on = (title, play) =>
      test(title, staged(`${name} readme ${title}`, () => browser, 'memory', async (stage) => {
        const gateway = await stage.gateway();
        const site = await Site.start(gateway);
        const page = await browser.newPage();
        try {
          await page.goto(site.url);
          const sees = watch(page);
          await sees('the order, live', ({ state, order }) =>
            LIVE.test(state) && order.includes('"new"'));
          await play({ site, sees, gateway });
        } finally {
          await page.close();
          await site.end();
        }
      }));

    before(async () => (browser = await launch(name)));
    after(() => browser?.close());

    on('shows each change', async ({ site, sees }) => {
      await site.change('paid');
      await sees('the change', ({ order }) => order.includes('"paid"'));
    });

    for (const failure of ['fails', 'is away']) {
      on(`a backend that ${failure}: keeps the last order and says so`, async ({ site, sees }) => {
        site.backend = failure;
        await site.change('paid');
        await sees('the problem beside the last order', ({ problem, order }) =>
          CANNOT_LOAD.test(problem) && order.includes('"new"'));
        site.backend = 'answers';
        await sees('the change and no problem', ({ problem, order }) =>
          problem === '' && order.includes('"paid"'));
      });
    }

    on('a backend that is late: aborts the fetch and asks again', async ({ site, sees }) => {
      site.backend = 'is late';
      await site.change('paid');
      await until('the late fetch is aborted', () => site.aborted, (aborted) => aborted > 0);
      site.backend = 'answers';
      await sees('the change', ({ order }) => order.includes('"paid"'));
    });

    on('a gateway that goes and comes back', async ({ site, sees, gateway }) => {
      await gateway.end();
      await sees('that it is disconnected', ({ state }) => DISCONNECTED.test(state));
      site.order = { status: 'sent' };
      await gateway.start();
      await sees('the missed change, live', ({ state, order }) =>
        LIVE.test(state) && order.includes('"sent"'));
    });

    on('a proxy that answers 503: opens a new EventSource', async ({ site, sees, gateway }) => {
      site.refusesStreams = true;
      await gateway.end();
      await sees('that it is disconnected', ({ state }) => DISCONNECTED.test(state));
      await until('the browser gave up', () => site.refused, (refused) => refused > 1);
      await gateway.start();
      site.order = { status: 'sent' };
      site.refusesStreams = false;
      await sees('the missed change, live', ({ state, order }) =>
        LIVE.test(state) && order.includes('"sent"'));
    });
  });
}

/** Waits until what the page shows meets a condition. */
function watch(page) {
  const look = () =>
    page.evaluate(() => {
      const text = (id) => document.getElementById(id)?.textContent ?? '';
      return { state: text('state'), problem: text('problem'), order: text('order') };
    });
  return (what, condition) => until(`the page shows ${what}`, look, condition);
}
