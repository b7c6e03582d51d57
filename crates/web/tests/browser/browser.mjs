// Chromium, and what every page is held to: no error in the console, no request that leaves the router, nothing that the
// Content-Security-Policy refuses, nothing wider than the screen, no serious finding of axe.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { World, createMock } from './mock.mjs';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const root = fileURLToPath(new URL('../../../../', import.meta.url));
export const SCREENSHOTS = process.env.MWAN_SCREENSHOTS || `${process.env.CARGO_TARGET_DIR || `${root}target`}/screenshots`;
mkdirSync(SCREENSHOTS, { recursive: true });

export function launch() {
  const executablePath = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((p) => p && existsSync(p));
  assert.ok(executablePath, 'there is no Chromium: scripts/setup-debian installs it');
  // Root has no user namespaces of its own to be put into; the pages are ours.
  return chromium.launch({ executablePath, timeout: 60000, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
}

/** Effects come 0.3 s after their page, as on a slow machine: Preact waits for a frame, or for 35 ms. Nothing may hang on that. */
async function slowEffects(route) {
  const response = await route.fetch();
  const text = await response.text();
  const slow = text.replace('setTimeout(r,35)', 'setTimeout(r,300)').replace(/requestAnimationFrame\(r\)/g, 'undefined');
  assert.ok(slow.includes('setTimeout(r,300)') && !slow.includes('requestAnimationFrame(r)'), 'Preact waits in another way');
  await route.fulfill({ response, body: slow });
}

/** A page of its own, logged in as `role` (null: not), that is watched. `done()` fails if it saw anything. */
export async function open(browser, mock, { role = 'admin', width = 1280, height = 800, scheme = 'light', reduced = false, path = '', expect = [], secure = false } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, reducedMotion: reduced ? 'reduce' : 'no-preference', ignoreHTTPSErrors: secure, acceptDownloads: false });
  if (role && mock.login) await context.addCookies([{ name: 'mwan', value: mock.login(role), url: mock.url }]);
  const page = await context.newPage();
  const seen = [];
  page.on('console', (m) => { if (['error', 'warning'].includes(m.type())) seen.push(`console ${m.type()}: ${m.text()}`); });
  page.on('pageerror', (e) => seen.push(`exception: ${e.stack}`));
  page.on('request', (r) => { if (!r.url().startsWith(`${mock.url}/`)) seen.push(`a request to elsewhere: ${r.url()}`); });
  if (process.env.MWAN_SLOW_EFFECTS) await page.route('**/vendor/hooks.js', slowEffects);
  await page.addInitScript(() => { document.addEventListener('securitypolicyviolation', (e) => console.error(`CSP refused ${e.violatedDirective}: ${e.blockedURI} ${e.sample}`)); });
  await page.goto(`${mock.url}/${path}`);
  const done = async () => {
    // Chromium gives up what it is fetching when an address of the machine comes or goes; the page asks again.
    const odd = seen.filter((line) => ![...expect, 'ERR_NETWORK_CHANGED'].some((e) => line.includes(e)));
    assert.deepEqual(odd, []);
    await context.close();
  };
  return { page, context, done, seen };
}

/** `run(page, mock, world)` with a made-up router of its own; `config`: what its configuration has instead. */
export async function withRouter(browser, { config = {}, ...options }, run) {
  const world = new World({ events: 10 });
  Object.assign(world.config, config);
  const mock = await createMock({ world, sampleMs: 300 });
  try {
    const { page, done } = await open(browser, mock, options);
    await run(page, mock, world);
    await done();
  } finally {
    clearTimeout(world.waiting && world.waiting.timer);
    await mock.close();
  }
}

/** Answers of `pattern` are held back from now on; what is returned lets them go, and is done when the page has them. */
export async function hold(page, pattern) {
  let go; const held = new Promise((done) => { go = done; });
  const answered = [];
  await page.route(pattern, (route) => {
    answered.push(page.waitForResponse(route.request().url()));
    return held.then(() => route.continue());
  });
  return async () => { go(); await Promise.all(answered); await page.unroute(pattern); };
}

/** No serious or critical finding (WCAG 2.1 A and AA, and axe's best practices). */
export async function accessible(page, where) {
  await page.evaluate(AXE);
  const result = await page.evaluate(async () => {
    const found = await window.axe.run(document, { resultTypes: ['violations'] });
    return found.violations.filter((v) => ['serious', 'critical'].includes(v.impact)).map((v) => `${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => `${n.target.join(' ')} ${n.any.map((a) => a.message).join(' ')}`).join(' | ')}`);
  });
  assert.deepEqual(result, [], where);
}

/** Nothing is wider than the screen. */
export async function fits(page, where) {
  const [content, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
  assert.ok(content <= screen, `${where}: ${content} px on a screen of ${screen}`);
}

export const shot = (page, name, options = {}) => page.screenshot({ path: `${SCREENSHOTS}/${name}.png`, ...options });

/** Where the keyboard is: tag, accessible name or text. */
export const focused = (page) => page.evaluate(() => {
  const e = document.activeElement;
  return e ? `${e.tagName.toLowerCase()} ${e.getAttribute('aria-label') || e.textContent.trim().slice(0, 60)}` : '';
});

/** Presses Tab until what has the focus fits. */
export async function tabTo(page, pattern, max = 80) {
  for (let i = 0; i < max; i += 1) {
    await page.keyboard.press('Tab');
    if (pattern.test(await focused(page))) return;
  }
  assert.fail(`${pattern} is not reached by Tab; the focus is at ${await focused(page)}`);
}
