// The monitor's pages in a real browser: they render, follow the node, work by keyboard, and break no rule of
// WCAG 2.2 A and AA in light, dark and at 200 % zoom.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import puppeteer from 'puppeteer-core';
import { JavaScriptMember, RustMember, settled } from '../lib/chat.js';
import { Homing } from '../lib/homing.js';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const PAGES = ['/', '/network', '/nodes', '/peers', '/events', '/history', '/privacy', '/doctor'];
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22a', 'wcag22aa'];
const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
const SHOTS = process.env.SHOTS;

// What a hostile peer would say, and hope to see run.
const SCRIPT = '<script>window.hit = 1</script><img src=x onerror="window.hit = 1">';

let testnet, node, quiet, talker, monitor, browser;
const peers = [];
// Members of the conversation leave when everything ends, not with one test.
const leaving = [];
const stage = { after: (leave) => leaving.push(leave) };

before(async () => {
  testnet = new Homing(['testnet', '30', '--until-stdin-closes']);
  const { bootstrap } = await testnet.event('ready');
  node = new Homing(['node', '--until-stdin-closes', '--monitor', '127.0.0.1:0'], { bootstrap });
  quiet = await node.event('monitor');
  await node.event('ready');
  const topic = randomBytes(32);
  talker = await RustMember.join(stage, bootstrap, topic, ['--monitor', '127.0.0.1:0']);
  monitor = await talker.process.event('monitor');
  peers.push(await RustMember.join(stage, bootstrap, topic), await RustMember.join(stage, bootstrap, topic));
  peers.push(await JavaScriptMember.join(stage, bootstrap, topic, { client: true, server: true }));
  await settled([talker], () => peers.map(({ key }) => key));
  peers[0].say(SCRIPT);
  await talker.hears();
  browser = await puppeteer.launch({
    executablePath: CHROMIUM,
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--no-proxy-server'],
  });
});

after(async () => {
  await browser?.close();
  await Promise.all(leaving.map((leave) => leave()));
  await node?.stop();
  await testnet?.stop();
});

async function enter({ script = true, at = monitor } = {}) {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  await page.setJavaScriptEnabled(script);
  const outside = [];
  const errors = [];
  page.on('request', (request) => {
    if (!request.url().startsWith(`http://${at.address}/`)) outside.push(request.url());
  });
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
  page.on('pageerror', (error) => errors.push(String(error)));
  if (script) {
    await page.goto(at.url);
    await page.waitForSelector('#answers');
  } else {
    await page.goto(`http://${at.address}/`);
    await page.type('#code', at.code);
    await Promise.all([page.waitForNavigation(), page.click('button')]);
  }
  errors.length = 0; // the browser reports the 401 of the entry page
  return { page, outside, errors, context };
}

test('every page breaks no rule of WCAG in light, dark and at 200 % zoom, and asks nobody else', async () => {
  const { page, outside, errors, context } = await enter();
  const views = [
    { name: 'light', scheme: 'light', width: 1280, height: 900 },
    { name: 'dark', scheme: 'dark', width: 1280, height: 900 },
    { name: 'zoom', scheme: 'light', width: 640, height: 450 },
    { name: 'narrow', scheme: 'dark', width: 320, height: 640 },
  ];
  for (const view of views) {
    await page.setViewport({ width: view.width, height: view.height });
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: view.scheme }]);
    for (const path of PAGES) {
      await page.goto(`http://${monitor.address}${path}`, { waitUntil: 'load' });
      await page.evaluate(AXE);
      const found = await page.evaluate(
        (tags) => axe.run(document, { runOnly: { type: 'tag', values: tags } }).then((run) => run.violations),
        RULES,
      );
      const told = found.map((rule) => `${rule.id}: ${rule.nodes[0].html} ${rule.nodes[0].failureSummary}`);
      assert.deepEqual(told, [], `${path} ${view.name}`);
      assert.equal(await page.evaluate(() => window.hit), undefined, `a peer's words ran on ${path}`);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wide <= 0, `${path} ${view.name} scrolls sideways by ${wide}`);
      if (SHOTS) {
        const name = `${view.name}-${path.slice(1) || 'overview'}.png`;
        await page.screenshot({ path: join(SHOTS, name), fullPage: true });
      }
    }
  }
  assert.deepEqual(outside, []);
  assert.deepEqual(errors, []);
  await context.close();
});

test('a page follows the node without being loaded again, and stands still while paused', async () => {
  const { page, context } = await enter();
  // How long the state has held grows by itself.
  const read = () => page.$eval('#answers dd', (element) => element.textContent);
  await page.evaluate(() => (window.sameDocument = true));
  const before = await read();
  await page.waitForFunction(
    (old) => document.querySelector('#answers dd').textContent !== old && window.sameDocument,
    { timeout: 30_000 },
    before,
  );
  await page.focus('#pause');
  await page.keyboard.press('Enter');
  assert.equal(await page.$eval('#pause', (button) => button.getAttribute('aria-pressed')), 'true');
  await context.close();
});

test('peers are told apart from nodes, and what the page shows is what the snapshot says', async () => {
  const { page, context } = await enter();
  await page.goto(`http://${monitor.address}/peers`);
  const snapshot = await page.evaluate(() => fetch('/api/snapshot').then((answer) => answer.json()));
  const keys = snapshot.peers.list.filter(({ state }) => state === 'connected').map(({ key }) => key);
  assert.deepEqual(keys.sort(), peers.map(({ key }) => key).sort());
  assert.equal(snapshot.peers.connected, peers.length);
  assert.equal(snapshot.connections.open, peers.length);
  assert.ok(snapshot.nodes.known > peers.length);
  const strip = await page.$eval('.counts', (element) => element.textContent);
  assert.match(strip, new RegExp(`^${snapshot.nodes.known} DHT nodes${peers.length} peers connected`));
  const rows = await page.$$eval('#connections tbody th', (cells) => cells.map((cell) => cell.textContent));
  assert.deepEqual(rows.sort(), peers.map(({ key }) => `${key.slice(0, 8)}…`).sort());
  const topics = await page.$$eval('#topics tbody td:nth-child(5)', (cells) => cells.map((cell) => cell.textContent));
  assert.deepEqual(topics, [`${peers.length} of ${peers.length}`]);
  let bytes = 0;
  for (const path of [...PAGES, '/monitor.css', '/monitor.js']) {
    const text = await page.evaluate((path) => fetch(path).then((answer) => answer.text()), path);
    bytes = Math.max(bytes, gzipSync(text).length);
  }
  assert.ok(bytes < 75_000, `the heaviest part of a page has ${bytes} bytes compressed`);
  await context.close();
});

test('a peer that is killed leaves the page by itself, and no node goes with it', { timeout: 60_000 }, async () => {
  const { page, context } = await enter();
  await page.evaluate(() => (window.sameDocument = true));
  const connected = () => Number(document.querySelector('.counts span + span strong').textContent);
  assert.equal(await page.evaluate(connected), peers.length);
  const nodes = () => Number(document.querySelector('.counts strong').textContent);
  const before = await page.evaluate(nodes);
  const killed = peers.pop();
  assert.ok(killed instanceof JavaScriptMember);
  const victim = peers.shift();
  victim.process.abandon();
  await killed.leave();
  await page.waitForFunction(
    (left) => window.sameDocument && Number(document.querySelector('.counts span + span strong').textContent) === left,
    { timeout: 40_000, polling: 100 },
    peers.length,
  );
  assert.ok((await page.evaluate(nodes)) >= before - 1, 'nodes went with the peers');
  await page.goto(`http://${monitor.address}/peers`);
  const rows = await page.$$eval('#connections tbody tr', (rows) => rows.map((row) => row.textContent));
  assert.ok(rows.some((row) => row.includes(victim.key.slice(0, 8)) && !row.includes('● connected')), rows.join('\n'));
  await context.close();
});

test('without a script the code is pasted, the pages are the same, and the self-test runs', async () => {
  const { page, context } = await enter({ script: false, at: quiet });
  assert.match(await page.$eval('.state', (element) => element.textContent), /Online/);
  await page.goto(`http://${quiet.address}/doctor`);
  await Promise.all([page.waitForNavigation(), page.click('button.primary')]);
  assert.match(await page.$eval('#report .verdict', (element) => element.textContent), /No fault|It works/);
  await context.close();
});

test('locking ends the session of an open page', async () => {
  const { page, context } = await enter();
  await Promise.all([page.waitForNavigation(), page.click('form[action="/lock"] button')]);
  await page.waitForSelector('#code');
  await context.close();
});
