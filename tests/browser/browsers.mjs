// The browsers under test.

import puppeteer from 'puppeteer-core';

const CHROMIUM_ARGS = [
  // A container's root cannot use the sandbox.
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

const LAUNCH = {
  chromium: () => ({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: CHROMIUM_ARGS }),
  firefox: () => ({ browser: 'firefox', executablePath: process.env.FIREFOX ?? '/usr/bin/firefox-esr' }),
};

/** The names of the browsers to test. */
export const BROWSERS = (process.env.TIDINGS_BROWSERS ?? 'chromium,firefox').split(',').map((name) => name.trim());

/** Starts a browser with a fresh profile, which takes the certificates that tests make for themselves. */
export function launch(name) {
  if (!Object.hasOwn(LAUNCH, name)) {
    throw new Error(`TIDINGS_BROWSERS names ${name}: expected ${Object.keys(LAUNCH).join(', ')}`);
  }
  return puppeteer.launch({ ...LAUNCH[name](), acceptInsecureCerts: true });
}
