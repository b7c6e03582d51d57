// The guide, end to end: the cloud's document is pushed, the primary WAN swallows everything, a mail comes by the other WAN, the
// dashboard shows it, and the mode is switched in the browser. The real daemon, real packets, real Chromium.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Router, USER_PASSWORD, until } from './router.mjs';
import { accessible, launch, open, shot } from './browser.mjs';

const FAR = '198.51.100.10';
const TARGET = '198.51.100.20';
/** The router as each provider, and so the far end, knows it. */
const SITE = { eth1: '203.0.113.10', eth2: '203.0.113.18' };
/** What the owner has written: which server takes the mail. The rest is the cloud's. */
const CONFIG = `
config globals 'globals'
	option enabled '1'

config alert 'mail'
	option type 'email'
	option server '${FAR}'
	option security 'none'
	option min_duration '1'
`;
const wan = (interfaceName, multiWANMetric, multiWANWeight) => ({
  interfaceName, targetIps: [TARGET, FAR], failureInterval: 1, recoveryInterval: 1, pingInterval: 3, pingTimeout: 3, multiWANMetric, multiWANWeight, enable: true,
});
const DOCUMENT = { enable: true, mode: 'FAIL_OVER', notificationEmails: ['ops@example.com'], wanInterfacesConfig: { eth1: wan('eth1', 1, 3), eth2: wan('eth2', 2, 2) } };

let browser; let router; let mails; let requests;
before(async () => {
  router = new Router({ config: CONFIG });
  await router.start();
  await router.world(FAR, TARGET);
  mails = await router.catch('smtp', FAR, 25);
  requests = await router.catch('http', FAR, 80);
  browser = await launch();
});
after(async () => { if (browser) await browser.close(); if (router) router.stop(); });

/** New connections of a machine in the LAN: how many came by which WAN, as the far end saw them. */
function connect(count) {
  const before = requests().length;
  router.sh(`nsenter -t ${router.client} -n sh -ec 'for n in $(seq ${count}); do curl -sS -m 10 -d "{}" -o ${router.dir}/answer http://${FAR}/; done'`);
  const peers = requests().slice(before).map((r) => r.peer);
  const by = Object.fromEntries(Object.entries(SITE).map(([name, address]) => [name, peers.filter((p) => p === address).length]));
  assert.equal(by.eth1 + by.eth2, count, `each by a WAN and translated: ${peers}`);
  return by;
}

const status = () => JSON.parse(router.mwan('status', '--json'));
const usable = () => status().interfaces.map((i) => `${i.name} ${i.paths.every((p) => p.status === 'online')}`).join(', ');
const policyOf = (rule) => status().rules.find((r) => r.name === rule).target;

/** A request of the cloud's program. */
async function cloud(method, token, body) {
  const headers = { ...(token ? { Authorization: `Bearer ${token}` } : {}), 'Content-Type': 'application/json' };
  const answer = await fetch(`${router.url}/api/v1/cloud/multiwan`, { method, headers, body: body && JSON.stringify(body) });
  return { code: answer.status, body: await answer.json() };
}

describe('the guide, end to end', { concurrency: false }, () => {
  let token; let opened;

  test("the cloud's document is pushed with a token, and in force", async () => {
    token = router.mwan('web', 'token', 'add', 'cloud', '--role', 'admin').trim();
    assert.equal((await cloud('PUT', null, DOCUMENT)).code, 401);
    const viewer = router.mwan('web', 'token', 'add', 'backup', '--role', 'viewer').trim();
    assert.equal((await cloud('PUT', viewer, DOCUMENT)).code, 403);
    assert.equal(router.text(), router.first);
    const put = await cloud('PUT', token, { multiWanV2: DOCUMENT });
    assert.equal(put.code, 200, JSON.stringify(put.body));
    assert.match(router.text(), /\tlist notification_email 'ops@example\.com'\n/);
    assert.match(router.text(), /config interface 'eth1'\n(\t.*\n)*\tlist track_ip '198\.51\.100\.20'\n/);
    assert.ok(router.text().includes(CONFIG.slice(CONFIG.indexOf('config alert')).trimEnd()), "the owner's section stays");
    await until('both WANs work', () => usable() === 'eth1 true, eth2 true', usable);
    assert.deepEqual((await cloud('GET', token)).body, DOCUMENT);
    assert.deepEqual(connect(10), { eth1: 10, eth2: 0 });
  });

  test('the primary is black-holed: a mail with cause and time comes by the other, and the dashboard shows it', async () => {
    opened = await open(browser, router, { role: null, height: 1000, path: new URL(router.link()).hash, expect: ['401'] });
    const { page } = opened;
    await page.getByLabel('Password', { exact: true }).fill(USER_PASSWORD);
    await page.getByLabel('Password again').fill(USER_PASSWORD);
    await page.getByRole('button', { name: 'Set the password' }).click();
    await page.getByText('Both WANs work.').waitFor();
    await page.getByText('eth1 carries new connections.').waitFor();
    assert.deepEqual(mails(), []);

    const began = Date.now();
    router.blackhole(1);
    await page.getByText('eth1 is offline.').waitFor();
    await page.getByText('eth2 carries new connections.', { exact: false }).waitFor();
    const card = page.locator('.wan', { has: page.getByRole('link', { name: 'eth1', exact: true }) });
    await card.getByText('Offline').waitFor();
    await card.getByText(/rounds? in a row lost|lost/).first().waitFor();
    await page.waitForFunction(() => /eth2/.test(document.querySelector('.recent').textContent));
    await shot(page, 'guide-failover', { fullPage: true });
    assert.deepEqual(connect(10), { eth1: 0, eth2: 10 });

    await until('a mail', () => mails().length > 0, () => router.mwan('alerts'));
    const ended = Date.now();
    assert.equal(mails().length, 1, 'one for the incident');
    const [mail] = mails();
    assert.deepEqual(mail.to, ['ops@example.com']);
    assert.equal(mail.peer, SITE.eth2);
    assert.match(mail.subject, /eth1 \(IPv4\) is down/);
    assert.match(mail.text, /Cause:\s+eth1, IPv4: \d+ rounds? .*lost \[probes_lost\]/);
    assert.match(mail.text, /FAIL_OVER, IPv4: eth1 -> eth2/);
    // To the second, and rounds begin before they are lost.
    const since = Date.parse(/^Since: +(\S+ \S+ \S+?)\s*$/m.exec(mail.text)[1].replace(/^(\S+) (\S+) /, '$1T$2'));
    assert.ok(since > began - 5000 && since <= ended, mail.text);

    await page.evaluate(() => { location.hash = '#/events'; });
    await page.locator('.event').filter({ hasText: /eth1 \(IPv4\) is offline: .*lost/ }).first().waitFor();
    await page.locator('.event').filter({ hasText: 'FAIL_OVER (IPv4) moves from eth1 to eth2' }).first().waitFor();
    await shot(page, 'guide-events');
  });

  test('the mode is switched in the browser: configuration, rules and packets follow', async () => {
    const { page, done } = opened;
    router.mend(1);
    await page.evaluate(() => { location.hash = '#/'; });
    await page.getByText('Both WANs work.').waitFor();
    await page.getByText('eth1 carries new connections.').waitFor();
    assert.deepEqual(connect(10), { eth1: 10, eth2: 0 });
    assert.deepEqual([policyOf('DEFAULT_HTTPS'), policyOf('DEFAULT_ANY')], ['FAIL_OVER', 'FAIL_OVER']);

    const former = router.text();
    await page.evaluate(() => { location.hash = '#/policies'; });
    await page.getByRole('button', { name: 'Failover', pressed: true }).waitFor();
    await page.getByRole('button', { name: 'Load balancing' }).click();
    const dialog = page.getByRole('dialog', { name: 'Apply this change?' });
    await dialog.locator('.diff .ins', { hasText: "option use_policy 'LOAD_BALANCE'" }).first().waitFor();
    await accessible(page, 'the mode of the real router');
    await shot(page, 'guide-mode');
    assert.equal(router.text(), former, 'shown, not done');
    await page.getByRole('button', { name: 'Apply', exact: true }).click();
    await page.getByText('The configuration is in force.').waitFor();
    await page.getByRole('button', { name: 'Load balancing', pressed: true }).waitFor();
    await page.getByRole('button', { name: 'Keep', exact: true }).click();
    await page.getByText('The settings stay.').waitFor();

    assert.match(router.text(), /\toption mode 'LOAD_BALANCE'\n/);
    assert.equal(router.text().match(/\toption use_policy 'LOAD_BALANCE'\n/g).length, 2);
    assert.ok(!router.text().includes("option use_policy 'FAIL_OVER'"));
    assert.deepEqual((await cloud('GET', token)).body, { ...DOCUMENT, mode: 'LOAD_BALANCE' });
    assert.deepEqual([policyOf('DEFAULT_HTTPS'), policyOf('DEFAULT_ANY')], ['LOAD_BALANCE', 'LOAD_BALANCE']);
    const { members } = status().policies.find((p) => p.name === 'LOAD_BALANCE').ipv4;
    assert.deepEqual(members.map((m) => [m.interface, m.percent]), [['eth1', 60], ['eth2', 40]]);
    const by = connect(60);
    assert.ok(by.eth1 > 0 && by.eth2 > 0, JSON.stringify(by));
    await page.evaluate(() => { location.hash = '#/'; });
    await page.getByText('eth1 and eth2 carry new connections.').waitFor();
    await shot(page, 'guide-balanced', { fullPage: true });
    await done();
  });
});
