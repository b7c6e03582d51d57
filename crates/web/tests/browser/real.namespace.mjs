// The dashboard against the real daemon: set up by the one-time link, a failover with real packets, steered from the page.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Router, USER_PASSWORD } from './router.mjs';
import { accessible, fits, launch, open, shot } from './browser.mjs';

let browser; let router;
before(async () => { router = new Router(); await router.start(); browser = await launch(); });
after(async () => { if (browser) await browser.close(); if (router) router.stop(); });

async function logIn(page) {
  await page.getByLabel('Password').fill(USER_PASSWORD);
  await page.getByRole('button', { name: 'Log in' }).click();
}

async function keep(page) {
  await page.getByRole('button', { name: 'Keep', exact: true }).click();
  await page.getByText('The settings stay.').last().waitFor();
  await page.getByRole('button', { name: 'Keep', exact: true }).waitFor({ state: 'detached' });
}

describe('the real router', { concurrency: false }, () => {
  test('says how to begin, and lets in who has the link, once', async () => {
    const { page, done } = await open(browser, router, { expect: ['401', '403'] });
    await page.getByText('prints a link to set the first one', { exact: false }).waitFor();
    const link = router.link();
    await page.goto(link);
    await page.getByLabel('Password', { exact: true }).fill(USER_PASSWORD);
    await page.getByLabel('Password again').fill(USER_PASSWORD);
    await page.getByRole('button', { name: 'Set the password' }).click();
    await page.getByText('Both WANs work.').waitFor();
    await page.getByText('fiber carries new connections.').waitFor();
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.getByRole('heading', { name: 'Log in' }).waitFor();
    await page.goto(link);
    await page.getByLabel('Password', { exact: true }).fill(USER_PASSWORD);
    await page.getByLabel('Password again').fill(USER_PASSWORD);
    await page.getByRole('button', { name: 'Set the password' }).click();
    await page.getByRole('alert').waitFor();
    await done();
  });

  test('shows a failover as it happens, with its reason and what took over', async () => {
    const { page, done } = await open(browser, router, { role: null, height: 1000, expect: ['401'] });
    await logIn(page);
    await page.getByText('Both WANs work.').waitFor();
    const card = (name) => page.locator('.wan', { has: page.getByRole('link', { name, exact: true }) });
    await page.waitForFunction(() => [...document.querySelectorAll('.wan')].every((w) => / ms/.test(w.textContent)));
    router.blackhole(1);
    await page.getByText('fiber is offline.').waitFor();
    await page.getByText('cable carries new connections.', { exact: false }).waitFor();
    await card('fiber').getByText('Offline').waitFor();
    await card('fiber').getByText('rounds in a row lost', { exact: false }).waitFor();
    await page.waitForFunction(() => /cable/.test(document.querySelector('.recent').textContent));
    await shot(page, 'real-failover', { fullPage: true });
    await page.evaluate(() => { location.hash = '#/policies'; });
    await page.getByRole('row', { name: /https/ }).getByText('cable').waitFor();
    await shot(page, 'real-policies');
    router.mend(1);
    await page.evaluate(() => { location.hash = '#/'; });
    await page.getByText('Both WANs work.').waitFor();
    await done();
  });

  test('drains and takes down what the page says', async () => {
    const { page, done } = await open(browser, router, { role: null, path: '#/wan/fiber', expect: ['401'] });
    await logIn(page);
    await page.getByRole('button', { name: 'Drain', exact: true }).click();
    await page.getByText('Drained').first().waitFor();
    const path = () => JSON.parse(router.mwan('status', '--json')).interfaces[0].paths[0];
    assert.equal(path().drained, true);
    await page.getByRole('button', { name: 'Undrain' }).click();
    await page.getByText('Online').first().waitFor();
    assert.equal(path().drained, false);
    await page.getByRole('button', { name: 'Take down' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Take down' }).click();
    await page.getByText('Taken down').first().waitFor();
    await page.getByRole('button', { name: 'Take up' }).click();
    await page.getByText('Online').first().waitFor();
    await done();
  });

  test('has every event, and finds the WANs', async () => {
    const { page, done } = await open(browser, router, { role: null, path: '#/events', expect: ['401'] });
    await logIn(page);
    await page.locator('.event').filter({ hasText: 'fiber' }).first().waitFor();
    await page.getByText('undrain fiber').waitFor();
    await accessible(page, 'real events');
    await fits(page, 'real events');
    await shot(page, 'real-events');
    const found = await page.evaluate(async () => (await fetch('api/v1/wizard')).json());
    assert.deepEqual(found.candidates.map((c) => [c.device, c.interface, c.families, c.gateways, c.main]), [
      ['eth1', 'fiber', ['ipv4'], ['203.0.113.9'], true], ['eth2', 'cable', ['ipv4'], ['203.0.113.17'], true]]);
    const status = await page.evaluate(async () => (await fetch('api/v1/status')).json());
    assert.deepEqual(status.interfaces.map((i) => i.paths[0].quality), [
      { failure_latency_ms: 150, recovery_latency_ms: 100, failure_loss_percent: 40, recovery_loss_percent: 10 }, null]);
    await page.evaluate(() => { location.hash = '#/flows'; });
    await page.getByText('By WAN').waitFor();
    await done();
  });

  test('draws what it has recorded', async () => {
    const { page, done } = await open(browser, router, { role: null, path: '#/wan/fiber', height: 1100, expect: ['401'] });
    await logIn(page);
    await page.locator('.plot canvas').nth(3).waitFor();
    await page.waitForFunction(() => / ms/.test(document.querySelector('.readout b').textContent));
    await page.getByText('changes are marked in these charts').waitFor();
    await page.waitForFunction(() => /outage/.test(document.querySelector('.plot').getAttribute('aria-label')));
    for (const range of ['1 min', '1 h', '1 day', '30 days']) {
      await page.getByRole('button', { name: range, exact: true }).click();
      await page.locator('.plot canvas').nth(3).waitFor();
    }
    await page.getByRole('button', { name: '10 min', exact: true }).click();
    await page.locator('.plot canvas').nth(3).waitFor();
    await accessible(page, 'real charts');
    await shot(page, 'real-charts', { fullPage: true });
    await page.evaluate(() => { location.hash = '#/report'; });
    await page.getByRole('row', { name: /fiber/ }).first().waitFor();
    await page.getByText('rounds in a row lost').first().waitFor();
    await shot(page, 'real-report', { fullPage: true });
    await done();
  });

  test('is configured from the page: findings, preview, lost update, set-up', async () => {
    const { page, done } = await open(browser, router, { role: null, path: '#/config', expect: ['401', '412', '422'] });
    await logIn(page);
    const area = page.getByLabel('Text of the configuration');
    await area.waitFor();
    await page.getByText('No findings').waitFor();
    const change = async (how) => area.fill(how(await area.inputValue()));
    await change((t) => t.replace("option down '3'", "option down 'x'"));
    await page.locator('.gutter .error').waitFor();
    assert.equal(await page.locator('.gutter .error').textContent(), String(router.text().split('\n').indexOf("\toption down '3'") + 1));
    await shot(page, 'real-editor');
    await change((t) => t.replace("option down 'x'", "option down '4'"));
    await page.getByText('No findings').waitFor();
    router.edit((t) => `${t}# by hand\n`);
    await page.getByRole('button', { name: 'Review and apply' }).click();
    await page.locator('.diff .ins', { hasText: "option down '4'" }).waitFor();
    await page.getByRole('button', { name: 'Apply', exact: true }).click();
    const theirs = page.getByRole('dialog', { name: 'Changed by somebody else' });
    await theirs.getByText('# by hand').waitFor();
    assert.ok(!router.text().includes("option down '4'"));
    await theirs.getByRole('button', { name: 'Compare mine with theirs' }).click();
    await page.getByRole('button', { name: 'Apply', exact: true }).click();
    await page.getByText('The configuration is in force.').waitFor();
    assert.ok(router.text().includes("option down '4'"));
    await keep(page);
    // A form: what the daemon finds stands beside its field.
    await page.evaluate(() => { location.hash = '#/wan/fiber/settings'; });
    await page.getByLabel('Targets', { exact: true }).fill('198.51.100.1 name.example');
    const field = page.locator('.field', { has: page.getByLabel('Targets', { exact: true }) });
    await field.getByText('is a name, not an address').waitFor();
    await shot(page, 'real-settings', { fullPage: true });
    await page.getByLabel('Targets', { exact: true }).fill('198.51.100.1 198.51.100.3');
    await field.getByText('is a name').waitFor({ state: 'detached' });
    // What was said of the change before is not taken for this one's.
    await page.getByText('The configuration is in force.').waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'Review and apply' }).click();
    await page.getByRole('button', { name: 'Apply', exact: true }).click();
    await page.getByText('The configuration is in force.').last().waitFor();
    assert.match(router.text(), /\tlist track_ip '198.51.100.1'\n\tlist track_ip '198.51.100.3'\n/);
    await keep(page);
    // Balancing by the set-up: the web server's section stays, the kernel has the new policy.
    await page.evaluate(() => { location.hash = '#/wizard'; });
    await page.getByText('2 WANs were found').waitFor();
    await page.getByRole('button', { name: 'Continue' }).click();
    await page.getByText('Load balancing').click();
    await page.getByRole('button', { name: 'Review' }).click();
    await page.locator('.diff .ins').first().waitFor();
    await page.getByText('changes; what is not listed is not touched').waitFor();
    await shot(page, 'real-preview');
    await page.getByRole('button', { name: 'Apply', exact: true }).click();
    await page.getByRole('heading', { name: 'Done.' }).waitFor();
    await keep(page);
    await page.evaluate(() => { location.hash = '#/policies'; });
    await page.getByRole('heading', { name: 'balanced' }).waitFor();
    const policy = JSON.parse(router.mwan('status', '--json')).policies.find((p) => p.name === 'balanced');
    assert.deepEqual(policy.ipv4.members.map((m) => [m.interface, m.percent]), [['fiber', 50], ['cable', 50]]);
    assert.match(router.text(), /^config web/);
    router.edit((t) => t.replace(/config interface[\s\S]*/, router.links()));
    router.mwan('reload');
    await page.getByRole('heading', { name: 'first' }).waitFor();
    await done();
  });

  test('is told whom to notify, and tries it', async () => {
    const { page, done } = await open(browser, router, { role: null, path: '#/alerts', expect: ['401'] });
    await logIn(page);
    await page.getByRole('button', { name: 'Add' }).click();
    await page.getByRole('button', { name: 'Command' }).click();
    await page.getByLabel('Program and arguments').fill('/bin/true');
    await page.getByRole('button', { name: 'Review and apply' }).click();
    await page.locator('.diff .ins').first().waitFor();
    await page.getByRole('button', { name: 'Apply', exact: true }).click();
    await keep(page);
    await page.getByRole('button', { name: 'Send a test by ops' }).click();
    await page.getByText('A test was sent by ops.').waitFor();
    await shot(page, 'real-alerts');
    await page.getByRole('button', { name: 'Remove ops' }).click();
    await page.getByRole('button', { name: 'Apply', exact: true }).click();
    await page.getByText('Nobody is told yet').waitFor();
    assert.ok(!router.text().includes('config alert'));
    await keep(page);
    await done();
  });

  test('takes settings back, has their history, and goes back to one', async () => {
    const { page, done } = await open(browser, router, { role: null, path: '#/config', expect: ['401', '409'] });
    await logIn(page);
    const area = page.getByLabel('Text of the configuration');
    await area.waitFor();
    const before = router.text();
    await area.fill(`${before}# tried\n`);
    await page.getByRole('button', { name: 'Review and apply' }).click();
    await page.getByRole('button', { name: 'Apply', exact: true }).click();
    await page.getByText('Keep these settings?', { exact: true }).waitFor();
    assert.equal(router.text(), `${before}# tried\n`);
    await page.reload();
    await page.getByText('Order of admin (web)').waitFor();
    await accessible(page, 'real settings that wait');
    await shot(page, 'real-waiting');
    await page.getByRole('button', { name: 'Take back' }).click();
    await page.getByText('The settings before are in force again.').waitFor();
    assert.equal(router.text(), before);
    // Taken back at the machine meanwhile: the page says so, and has what it was.
    await area.fill(`${before}# again\n`);
    await page.getByRole('button', { name: 'Review and apply' }).click();
    await page.getByRole('button', { name: 'Apply', exact: true }).click();
    await page.getByText('Keep these settings?', { exact: true }).waitFor();
    router.mwan('rollback');
    await page.getByText('The settings were taken back').waitFor();
    assert.equal(router.text(), before);
    await page.getByRole('link', { name: 'What they would have changed' }).click();
    await page.locator('.diff .ins', { hasText: '# again' }).waitFor();
    await page.getByRole('button', { name: 'Go back to this' }).click();
    await page.locator('dialog .diff .ins', { hasText: '# again' }).waitFor();
    await page.getByRole('button', { name: 'Apply', exact: true }).click();
    await keep(page);
    assert.equal(router.text(), `${before}# again\n`);
    await page.getByRole('row', { name: /Gone back to.*In force/ }).waitFor();
    await shot(page, 'real-history');
    await done();
  });

  test('explains the way of a packet, and what is no packet', async () => {
    const { page, done } = await open(browser, router, { role: null, path: '#/explain?to=198.51.100.9%3A443%2Ftcp', expect: ['400', '401', '409'] });
    await logIn(page);
    await page.locator('.herotitle').getByText(/^tcp from 203\.0\.113\.10:40000 to 198\.51\.100\.9:443 goes by fiber\.$/).waitFor();
    await page.getByText('Rule https decides: policy first.').waitFor();
    const table = page.getByRole('table', { name: 'Members of the policy' });
    assert.match(await table.getByRole('row', { name: /cable/ }).innerText(), /cable\s+2\s+1\s+–/);
    const pair = (name) => page.locator('.pairs div', { has: page.getByText(name, { exact: true }) }).locator('dd').innerText();
    assert.deepEqual([await pair('Device'), await pair('Next hop'), await pair('If it could not')], ['eth1', '203.0.113.9', 'cable']);
    assert.match(await pair('Mark'), /^0x[0-9a-f]+$/);
    await accessible(page, 'real explanation');
    await shot(page, 'real-explain', { fullPage: true });
    const wrong = async (label, value, text) => {
      await page.getByLabel(label, { exact: true }).fill(value);
      await page.getByRole('button', { name: 'Explain' }).click();
      await page.locator('.field.wrong', { has: page.getByLabel(label, { exact: true }) }).getByText(text).waitFor();
      assert.equal(await page.locator('.field.wrong').count(), 1);
    };
    await wrong('Destination', '0.0.0.0', 'nothing is sent to 0.0.0.0');
    await wrong('Destination', 'name.example', 'name.example:443/tcp is not an address to send to');
    await page.getByLabel('Destination').fill('198.51.100.9');
    await wrong('Source', '2001:db8::1', 'its destination of');
    await wrong('Source', '224.0.0.1', "nobody's packets come from 224.0.0.1");
    await page.getByLabel('Source', { exact: true }).fill('');
    await wrong('Port', '', "The destination's port is not said.");
    await wrong('Port', '70000', '70000 is not a port');
    await page.getByLabel('Port', { exact: true }).fill('443');
    await page.getByText('More', { exact: true }).click();
    await wrong('Source port', '70000', 'sport');
    await page.getByLabel('Source port').fill('');
    await page.getByLabel('Source', { exact: true }).fill('192.168.7.7');
    await wrong('Comes in by', 'lan9', 'lan9');
    await page.getByLabel('Comes in by').fill('');
    await page.getByLabel('Source', { exact: true }).fill('');
    await page.getByLabel('Family').selectOption('ipv6');
    await page.getByRole('button', { name: 'Explain' }).click();
    await page.locator('.field.wrong', { has: page.getByLabel('Family') }).getByText('not of').waitFor();
    await done();
  });

  test('has every page for a phone and a desk, with a thousand events', async () => {
    for (let n = 0; n < 500; n += 1) { router.mwan('drain', 'cable'); router.mwan('undrain', 'cable'); }
    const { page, done } = await open(browser, router, { role: null, width: 360, height: 740, reduced: true, expect: ['401'] });
    await logIn(page);
    await page.getByText('Both WANs work.').waitFor();
    const events = await page.evaluate(async () => (await fetch('api/v1/events?limit=1000')).json());
    assert.equal(events.events.length, 1000);
    for (const [name, path, text] of [
      ['overview', '', 'Both WANs work.'], ['wan', 'wan/fiber', 'Silent drop seen within'], ['settings', 'wan/fiber/settings', 'Targets'],
      ['events', 'events', 'undrain cable'], ['policies', 'policies', 'Would use now'], ['flows', 'flows', 'By WAN'],
      ['report', 'report', 'Availability, outages'], ['alerts', 'alerts', 'Nobody is told yet'], ['config', 'config', 'No findings'],
      ['wizard', 'wizard', '2 WANs were found'], ['history', 'history', 'Gone back to'], ['explain', 'explain?to=198.51.100.9', 'goes by'],
    ]) {
      await page.evaluate((to) => { location.hash = `#/${to}`; }, path);
      await page.getByText(text).first().waitFor();
      for (const [kind, width] of [['phone', 360], ['desk', 1280]]) {
        await page.setViewportSize({ width, height: 740 });
        await fits(page, `real ${name}, ${kind}`);
        await accessible(page, `real ${name}, ${kind}`);
        await shot(page, `real-${name}-${kind}`);
      }
      await page.setViewportSize({ width: 360, height: 740 });
    }
    await done();
  });

  test('has seen the daemon die and come back, and remembers what happened before', async () => {
    const { page, done } = await open(browser, router, { role: null, expect: ['401', '503', 'net::', 'ERR_'] });
    await logIn(page);
    await page.getByText('Both WANs work.').waitFor();
    // Whether the web server still says that the daemon is gone is a matter of a moment.
    await router.die();
    await page.getByText(/Connection lost|The mwan daemon does not answer/).waitFor();
    await router.run();
    // Sessions live in the web server, which ended with the daemon.
    await page.getByText('Your login has expired.').waitFor();
    await logIn(page);
    await page.getByText('Both WANs work.').waitFor();
    await page.locator('.event, .recent li').filter({ hasText: 'fiber' }).first().waitFor();
    await done();
  });
});

