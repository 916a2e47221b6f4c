// Streams over HTTP/2 with TLS, and from pages of other origins, as browsers take them.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { BROWSERS, launch } from './browsers.mjs';
import { staged } from './stage.mjs';
import { CLOSED, CONNECTING, OPEN, Streams } from './streams.mjs';

/** A certificate that nobody trusts, as flags of a gateway. */
function certificate(folder) {
  const [cert, key] = [join(folder, 'tls.crt'), join(folder, 'tls.key')];
  const kind = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  const name = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
  execFileSync('openssl', [...kind, ...name, '-keyout', key, '-out', cert], { stdio: 'pipe' });
  return { 'tls.cert': cert, 'tls.key': key };
}

/** An empty page at an origin of its own. */
async function page() {
  const server = http.createServer((_, answer) => answer.setHeader('Content-Type', 'text/html').end('<!doctype html>'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, url: `http://127.0.0.1:${server.address().port}` };
}

const topics = (count) => Array.from({ length: count }, (_, at) => `/v1/events?topic=t${at}`);

for (const name of BROWSERS) {
  describe(`${name}, transport`, () => {
    let browser;
    let folder;
    let tls;
    let streams;
    const on = (title, play) =>
      test(title, staged(`${name} ${title}`, () => browser, 'memory', async (stage) => {
        try {
          await play(stage);
        } finally {
          await streams?.end();
          streams = null;
        }
      }));

    before(async () => {
      folder = await mkdtemp(join(tmpdir(), 'tidings-tls-'));
      tls = certificate(folder);
      browser = await launch(name);
    });
    after(async () => {
      await browser?.close();
      await rm(folder, { recursive: true, force: true });
    });

    on('twenty streams of one page over HTTP/2, and it can still fetch', async (stage) => {
      const gateway = await stage.gateway(tls);
      streams = await Streams.at(browser, gateway.url);
      await streams.open(topics(20));
      await streams.until('all are live', (all) => all.every(({ ready }) => ready === 1));
      assert.equal(await streams.fetch('/demo/orders'), 200);
      await gateway.publish(Array.from({ length: 20 }, (_, at) => ({ to: `t${at}`, type: 'test.transport' })));
      const all = await streams.until('each has its event', (seen) => seen.every(({ events }) => events.length === 1));
      assert.deepEqual(all.map(({ events }) => events[0].topic), Array.from({ length: 20 }, (_, at) => `t${at}`));
      assert.ok((await streams.versions()).includes('h2'), `${await streams.versions()}`);
    });

    for (const signal of ['SIGKILL', 'SIGTERM']) {
      on(`streams over HTTP/2 come back after ${signal}`, async (stage) => {
        const gateway = await stage.gateway(tls);
        streams = await Streams.at(browser, gateway.url);
        await streams.open(topics(10));
        await streams.until('all are live', (all) => all.every(({ ready }) => ready === 1));
        await gateway.end(signal);
        await streams.until('all have noticed', (all) => all.every(({ state }) => state === CONNECTING));
        await gateway.start();
        await streams.until('all are live again', (all) => all.every(({ ready, state }) => ready === 2 && state === OPEN));
        await gateway.publish(Array.from({ length: 10 }, (_, at) => ({ to: `t${at}`, type: 'test.transport' })));
        await streams.until('each has its event', (all) =>
          all.every(({ events }) => events.some(({ type }) => type === 'test.transport')));
      });
    }

    on('streams that are too many for their connection try again until there is room', async (stage) => {
      // Not the page of the demo, which has a stream itself.
      const gateway = await stage.gateway({ ...tls, 'limits.streams': '4' });
      streams = await Streams.at(browser, `${gateway.url}/demo/orders`);
      await streams.open(topics(8));
      const live = (all) => all.filter(({ ready }) => ready > 0).length;
      const full = await streams.until('some wait', (all) =>
        live(all) === 4 && all.every(({ ready, errors }) => ready > 0 || errors > 1));
      assert.ok(full.every(({ state }) => state !== CLOSED), 'none has given up');
      const waiting = full.flatMap(({ ready }, at) => (ready ? [] : [at]));
      for (const [at, { ready }] of full.entries()) {
        if (ready) await streams.close(at, at + 1);
      }
      await streams.until('those that waited are live', (all) => waiting.every((at) => all[at].ready > 0));
    });

    on('pages of listed origins may follow, others may not', async (stage) => {
      const [app, other] = [await page(), await page()];
      try {
        const gateway = await stage.gateway({ ...tls, 'cors.origins': app.url });
        const url = `${gateway.url}/v1/events?topic=a`;
        streams = await Streams.at(browser, other.url);
        await streams.open([url]);
        await streams.until('it is refused', ([{ state }]) => state === CLOSED);
        await streams.end();
        streams = await Streams.at(browser, app.url);
        await streams.open([url], true);
        await streams.open([url], false);
        await streams.until('both are live', (all) => all.every(({ ready }) => ready === 1));
        await gateway.publish({ to: 'a', type: 'test.transport' });
        await streams.until('both have the event', (all) => all.every(({ events }) => events.length === 1));
        await assert.doesNotReject(streams.fetch(`${gateway.url}/v1/poll?topic=a`));
      } finally {
        app.server.close();
        other.server.close();
      }
    });
  });
}
