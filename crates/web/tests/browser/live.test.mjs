// What happens while the page is open: a failover, a router that goes away, a login that expires.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createMock, PASSWORD } from './mock.mjs';
import { accessible, fits, hold, launch, open, shot } from './browser.mjs';

let browser;
before(async () => { browser = await launch(); });
after(async () => { await browser.close(); });

async function withMock(run, options) {
  const mock = await createMock({ sampleMs: 200, ...options });
  try { await run(mock); } finally { await mock.close(); }
}

describe('a failover', () => {
  for (const [kind, width] of [['desktop', 1280], ['phone', 360]]) {
    test(`is seen as it happens, ${kind}`, () => withMock(async (mock) => {
      const { page, done } = await open(browser, mock, { width, height: width === 360 ? 740 : 1000 });
      await page.getByText('All 3 WANs work.').waitFor();
      mock.world.become('fiber', 'disconnecting', 'failing', '3 of 5 rounds lost');
      await page.getByText('fiber is failing.').waitFor();
      mock.world.fail('fiber');
      await page.getByText('fiber is offline.').waitFor();
      await page.getByText('cable and lte carry new connections.', { exact: false }).first().waitFor();
      await page.getByText('5 rounds in a row lost', { exact: false }).first().waitFor();
      assert.match(await page.locator('#spoken').textContent(), /^policy balanced \(IPv4\) moves from fiber and cable to cable$/, 'it is told to screen readers');
      const card = page.locator('.wan', { has: page.getByRole('link', { name: 'fiber', exact: true }) });
      await card.getByText('Offline').waitFor();
      await page.waitForFunction(() => document.querySelector('.recent').textContent.includes('moves from fiber and cable to cable'));
      await accessible(page, 'failover');
      await fits(page, 'failover');
      await shot(page, `failover-${kind}`, { fullPage: true });
      mock.world.recover('fiber');
      await page.getByText('All 3 WANs work.').waitFor();
      await done();
    }));
  }

  test('is not undone by an answer that was on its way', () => withMock(async (mock) => {
    const { page, done } = await open(browser, mock);
    await page.getByText('All 3 WANs work.').waitFor();
    let release; let held; let asked = 0;
    const isHeld = new Promise((resolve) => { held = resolve; });
    const released = new Promise((resolve) => { release = resolve; });
    await page.route('**/api/v1/status', async (route) => {
      asked += 1;
      const response = await route.fetch();
      if (asked === 1) { held(); await released; }
      await route.fulfill({ response });
    });
    await page.evaluate(() => { location.hash = '#/policies'; });
    await isHeld;
    await page.evaluate(() => { location.hash = '#/'; });
    await page.getByText('All 3 WANs work.').waitFor();
    mock.world.fail('fiber');
    await page.getByText('fiber is offline.').waitFor();
    const again = page.waitForResponse((r) => r.url().endsWith('/api/v1/status') && asked > 1);
    release();
    await again;
    await page.getByText('fiber is offline.').waitFor();
    await page.unrouteAll({ behavior: 'wait' });
    await done();
  }));

  test('is marked in the charts, and its thresholds are drawn in', () => withMock(async (mock) => {
    const { page, done } = await open(browser, mock, { path: '#/wan/fiber', height: 1100 });
    await page.locator('.plot canvas').nth(3).waitFor();
    await page.getByRole('button', { name: '1 min' , exact: true }).click();
    mock.world.fail('fiber');
    await page.getByText('changes are marked in these charts').waitFor();
    const label = () => page.locator('.plot').first().getAttribute('aria-label');
    await page.waitForFunction(() => /outage/.test(document.querySelector('.plot').getAttribute('aria-label')));
    assert.match(await label(), /changes of state/);
    await page.getByText('Offline').first().waitFor();
    mock.world.recover('fiber');
    await page.getByText('Online').first().waitFor();
    await shot(page, 'failover-charts', { fullPage: true });
    for (const range of ['10 min', '1 h', '6 h', '1 day', '7 days', '30 days']) {
      const from = mock.requests.length;
      await page.getByRole('button', { name: range, exact: true }).click();
      await page.locator('.plot canvas').nth(3).waitFor();
      assert.ok(mock.requests.slice(from).some((r) => r.includes('history?interface=fiber&family=ipv6')), `${range}: both families are asked for`);
    }
    await page.locator('.plot').first().press('End');
    await page.locator('.readout .when', { hasText: /^\d\d-\d\d \d\d:\d\d$/ }).first().waitFor();
    await shot(page, 'month-charts', { fullPage: true });
    await done();
  }));

  test('of the device itself leaves no rate behind', () => withMock(async (mock) => {
    const { page, done } = await open(browser, mock);
    const card = page.locator('.wan', { has: page.getByRole('link', { name: 'cable', exact: true }) });
    await card.getByText('bit/s', { exact: false }).first().waitFor();
    mock.world.become('cable', 'disabled', 'no_device', 'device eth2 does not exist');
    await card.getByText('Offline').waitFor();
    await card.getByText('bit/s', { exact: false }).first().waitFor({ state: 'detached' });
    await page.waitForFunction(() => document.querySelectorAll('.picture .nodesub').length === 2);
    await done();
  }));

  test('is drawn of an interface of which nothing is recorded', () => withMock(async (mock) => {
    mock.world.forgetful = true;
    const { page, done } = await open(browser, mock, { path: '#/wan/cable', expect: ['409'] });
    await page.locator('.plot canvas').nth(3).waitFor();
    await page.waitForFunction(() => /now \d/.test(document.querySelector('.plot').getAttribute('aria-label')));
    await page.getByRole('button', { name: '1 day', exact: true }).click();
    await page.getByRole('alert').getByText("nothing is recorded of interface 'cable'").waitFor();
    await done();
  }));

  test('appears in the open timeline without a reload', () => withMock(async (mock) => {
    const { page, done } = await open(browser, mock, { path: '#/events' });
    await page.locator('.event').first().waitFor();
    mock.world.fail('cable');
    await page.locator('.event').first().getByText('moves from').waitFor();
    assert.equal(await page.locator('.event').filter({ hasText: '5 rounds in a row lost' }).first().locator('.mark').count(), 1);
    await done();
  }));
});

describe('the connection', () => {
  test('is lost, said so, and comes back with what was missed', () => withMock(async (mock) => {
    const { page, done } = await open(browser, mock, { expect: ['ERR_', 'net::'] });
    await page.getByText('All 3 WANs work.').waitFor();
    mock.cut();
    await page.getByText('Connection lost').waitFor();
    await accessible(page, 'connection lost');
    await shot(page, 'connection-lost');
    mock.world.fail('fiber');
    mock.mend();
    await page.getByText('fiber is offline.').waitFor();
    await page.getByText('Connection lost').waitFor({ state: 'detached' });
    await page.waitForFunction(() => document.querySelector('.recent').textContent.includes('moves from fiber and cable to cable'));
    await done();
  }));

  test('comes back after more than is asked for, or a router that has lost its memory', () => withMock(async (mock) => {
    const { page, done } = await open(browser, mock, { path: '#/events', expect: ['ERR_', 'net::'] });
    await page.locator('.event').first().waitFor();
    const away = async (happens, last) => {
      mock.cut();
      await page.getByText('Connection lost').waitFor();
      happens();
      mock.mend();
      await page.getByText('Connection lost').waitFor({ state: 'detached' });
      await page.locator('.event').first().getByText(last, { exact: true }).waitFor();
      mock.world.tell({ kind: 'command', severity: 'info', text: `then ${last.length}` });
      await page.locator('.event').first().getByText(`then ${last.length}`, { exact: true }).waitFor();
    };
    const tell = (n) => { for (let i = 1; i <= n; i += 1) mock.world.tell({ kind: 'command', severity: 'info', text: `${n}, number ${i}` }); };
    await away(() => tell(350), '350, number 350');
    const numbers = (await page.locator('.event').allTextContents()).join().match(/350, number \d+/g);
    assert.deepEqual(numbers, numbers.map((_, i) => `350, number ${350 - i}`), 'none is left out');
    await away(() => { mock.world.events = []; mock.world.nextId = 1; tell(3); }, '3, number 3');
    assert.equal(await page.locator('.event').count(), 4);
    await page.evaluate(() => { location.hash = '#/'; });
    await page.waitForFunction(() => !document.querySelector('.recent') || !document.querySelector('.recent').textContent.includes('350'));
    await done();
  }));

  test('stays while only the daemon is away', () => withMock(async (mock) => {
    const { page, done } = await open(browser, mock);
    await page.getByText('All 3 WANs work.').waitFor();
    mock.world.send('daemon', { connected: false });
    await page.getByText('The mwan daemon does not answer').waitFor();
    mock.world.send('daemon', { connected: true });
    await page.getByText('The mwan daemon does not answer').waitFor({ state: 'detached' });
    await done();
  }));

  test('is not taken for live by an answer of before', () => withMock(async (mock) => {
    const { page, done } = await open(browser, mock, { expect: ['ERR_', 'net::'] });
    await page.getByText('All 3 WANs work.').waitFor();
    mock.cut();
    await page.getByText('Connection lost').waitFor();
    const letGo = await hold(page, '**/api/v1/events?*');
    const asked = page.waitForRequest('**/api/v1/events?*');
    mock.mend();
    await asked;
    mock.world.send('daemon', { connected: false });
    await page.getByText('The mwan daemon does not answer').waitFor();
    await letGo();
    await page.waitForTimeout(200);
    assert.ok(await page.getByText('The mwan daemon does not answer').isVisible());
    mock.world.send('daemon', { connected: true });
    await page.getByText('The mwan daemon does not answer').waitFor({ state: 'detached' });
    await done();
  }));

  test('a refusal is shown with its hint, and nothing is broken by it', () => withMock(async (mock) => {
    // 409: of what is called otherwise there is no history either.
    const { page, done } = await open(browser, mock, { path: '#/wan/lte', expect: ['404', '409'] });
    await page.getByRole('button', { name: 'Drain' }).waitFor();
    mock.world.find('lte').name = 'renamed';
    await page.getByRole('button', { name: 'Drain' }).click();
    await page.getByRole('alert').getByText("there is no interface 'lte'").waitFor();
    await page.getByText('the configuration has: fiber, cable, renamed').waitFor();
    await page.getByRole('button', { name: 'Dismiss' }).click();
    await done();
  }));
});

describe('an expired login', () => {
  test('leads to the login and back, with what was being written', () => withMock(async (mock) => {
    const { page, done } = await open(browser, mock, { path: '#/config', expect: ['401'] });
    const text = page.getByLabel('Text of the configuration');
    await text.waitFor();
    await page.getByText('No findings').waitFor();
    await text.press('Control+End');
    await text.pressSequentially('# my work');
    await page.getByText('changed, not applied').waitFor();
    mock.expire();
    await page.getByText('Your login has expired.').waitFor();
    await accessible(page, 'expired');
    await shot(page, 'expired');
    await page.getByLabel('Password').fill(PASSWORD);
    await page.getByLabel('Password').press('Enter');
    await page.getByRole('heading', { level: 1, name: 'Configuration' }).waitFor();
    await page.waitForFunction(() => document.querySelector('textarea') && document.querySelector('textarea').value.endsWith('# my work'));
    await done();
  }));

  test('is noticed by a request, too', () => withMock(async (mock) => {
    const { page, done } = await open(browser, mock, { path: '#/wan/cable', expect: ['401'] });
    await page.getByRole('button', { name: 'Drain' }).waitFor();
    mock.sessions.clear();
    // The page's own requests may notice it first, and then there is no button any more.
    const said = page.getByText('Your login has expired.').waitFor();
    await Promise.race([page.getByRole('button', { name: 'Drain' }).click().catch(() => {}), said]);
    await said;
    assert.equal(mock.world.find('cable').drained, false);
    await done();
  }));

  test('in another tab does not stand in the way, and does nothing under another name', () => withMock(async (mock) => {
    const { page, context, done } = await open(browser, mock, { path: '#/wan/cable', expect: ['403'] });
    const anew = (role) => context.addCookies([{ name: 'mwan', value: mock.login(role), url: mock.url }]);
    await page.getByRole('button', { name: 'Drain' }).waitFor();
    await anew('admin');
    await page.getByRole('button', { name: 'Drain' }).click();
    await page.getByText('cable takes no new connections while another WAN can.').waitFor();
    await anew('operator');
    await page.getByRole('button', { name: 'Undrain' }).click();
    await page.getByRole('alert').getByText('In another tab you have logged in as operator. Nothing was done.').waitFor();
    assert.equal(mock.world.find('cable').drained, true);
    await page.getByRole('button', { name: 'Undrain' }).click();
    await page.getByText('cable takes new connections again.').waitFor();
    await done();
  }));

  test('logging out ends the session at the router', () => withMock(async (mock) => {
    const { page, done } = await open(browser, mock, { expect: ['401'] });
    await page.getByText('All 3 WANs work.').waitFor();
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.getByRole('heading', { name: 'Log in' }).waitFor();
    assert.equal(mock.sessions.size, 0);
    await done();
  }));
});
