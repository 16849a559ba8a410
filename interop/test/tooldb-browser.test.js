// The published library in a real browser, with its IndexedDB store: it learns of servers by `GET /servers` of one,
// which has met the others by the topic.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';

import puppeteer from 'puppeteer-core';

import { servePage } from '../lib/page.js';
import { againstItself, reference } from '../lib/sides.js';
import { arrives, client, serve } from '../lib/tooldb.js';

const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
const TOPIC = 'browser';

async function open(t, url) {
  const browser = await puppeteer.launch({
    executablePath: CHROMIUM,
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--no-proxy-server'],
  });
  t.after(() => browser.close());
  const page = await browser.newPage();
  page.setDefaultTimeout(15_000);
  await page.goto(url);
  await said(page, 'ready');
  return page;
}

function said(page, text) {
  return page.waitForFunction((expected) => document.getElementById('said').textContent === expected, {}, text);
}

/** Fills a form and sends it. */
async function send(page, form, values, answer) {
  for (const [name, value] of Object.entries(values)) {
    await page.$eval(`#${form} [name=${name}]`, (input, text) => (input.value = text), value);
  }
  await page.click(`#${form} button`);
  await said(page, answer);
}

function heard(page, text) {
  const isThere = (expected) => [...document.querySelectorAll('#heard li')].some((line) => line.textContent === expected);
  return page.waitForFunction(isThere, {}, text);
}

test('a page finds servers by one, signs up, puts, gets and subscribes, and keeps what it knows', { skip: againstItself, timeout: 90_000 }, async (t) => {
  const network = await reference.startNetwork({ size: 4 });
  t.after(() => network.close());
  const met = ['--topic', TOPIC, '--dht=hyper', ...network.bootstrap.flatMap((address) => ['--bootstrap', address])];
  const [one, two] = [await serve(t, { args: met }), await serve(t, { args: met })];
  await Promise.all([one, two].map(async ({ command }) => {
    while ((await command.event('connected')).over !== 'websocket');
  }));

  const url = new URL(await servePage(t));
  url.search = new URLSearchParams({ server: `127.0.0.1:${one.port}`, topic: TOPIC });
  const page = await open(t, url.href);
  await page.waitForFunction(() => document.querySelectorAll('#servers .connected').length === 2);
  const listed = await page.$$eval('#servers li', (lines) => lines.map((line) => line.textContent));
  assert.deepEqual(listed.toSorted(), [one, two].map(({ port }) => `127.0.0.1:${port}`).toSorted());

  await send(page, 'signup', { user: 'ana', password: 'correct horse' }, 'signed up as ana');
  await send(page, 'put', { key: 'greeting', value: 'from the page' }, 'put greeting');
  const ben = await client(t, two.port, { topic: TOPIC });
  await ben.anonSignIn();
  await arrives(ben, 'greeting', 'from the page');
  await ben.signIn('ana', 'correct horse');

  await send(page, 'subscribe', { key: 'ticker' }, 'subscribed to ticker');
  for (const value of [1, 2, 3]) {
    await ben.putData('ticker', value);
    await heard(page, `ticker = ${value}`);
  }
  await send(page, 'get', { key: 'ticker' }, 'ticker = 3');

  // Without any server, the page has what it knew, and what it knew of servers.
  for (const { command } of [one, two]) await command.stop();
  await page.reload();
  await said(page, 'ready');
  await send(page, 'get', { key: 'ticker' }, 'ticker = 3');
  assert.equal((await page.$$('#servers li')).length, 2);
});
