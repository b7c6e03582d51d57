// What changes something: interfaces, the configuration, the set-up, notifications; and who may.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createMock } from './mock.mjs';
import { accessible, fits, launch, open, shot, withRouter } from './browser.mjs';

let browser;
before(async () => { browser = await launch(); });
after(async () => { await browser.close(); });

const withPage = (options, run) => withRouter(browser, options, run);

describe('an interface', () => {
  test('is drained, undrained, taken down and up', () => withPage({ path: '#/wan/cable' }, async (page, mock, world) => {
    await page.getByRole('button', { name: 'Drain', exact: true }).click();
    await page.getByText('cable takes no new connections while another WAN can.').waitFor();
    await page.getByText('Drained').first().waitFor();
    assert.equal(world.find('cable').drained, true);
    await page.getByRole('button', { name: 'Undrain' }).click();
    await page.getByText('Online').first().waitFor();
    await page.getByRole('button', { name: 'Take down' }).click();
    await page.getByText('Its connections move to the WANs that remain').waitFor();
    await page.getByRole('dialog').getByRole('button', { name: 'Take down' }).click();
    await page.getByText('Taken down').first().waitFor();
    assert.equal(world.find('cable').down, true);
    await page.getByRole('button', { name: 'Take up' }).click();
    await page.getByText('Online').first().waitFor();
    assert.deepEqual(mock.requests.filter((r) => r.startsWith('POST')), ['drain', 'undrain', 'down', 'up'].map((w) => `POST /api/v1/interfaces/cable/${w}`));
  }));

  test('the last one is not taken down without a warning', () => withPage({ path: '#/wan/cable' }, async (page, mock, world) => {
    await page.getByRole('button', { name: 'Take down' }).waitFor();
    await page.getByRole('button', { name: 'Take down' }).click();
    await page.getByText('Its connections move to the WANs that remain').waitFor();
    // While it is read.
    world.fail('fiber'); world.fail('lte');
    await page.getByText('the site would be offline').waitFor();
    await page.getByRole('button', { name: 'Cancel' }).click();
    assert.equal(world.find('cable').down, false);
  }));

  test('a viewer sees, an operator steers, an admin configures', async () => {
    await withPage({ path: '#/wan/cable', role: 'viewer', expect: ['403'] }, async (page) => {
      await page.getByText('Silent drop seen within').waitFor();
      assert.equal(await page.getByRole('button', { name: 'Drain' }).count(), 0);
      assert.equal(await page.getByRole('link', { name: 'Set-up' }).count(), 0);
      assert.equal(await page.getByRole('link', { name: 'Configuration' }).count(), 0);
      await page.evaluate(() => { location.hash = '#/config'; });
      await page.getByText('this is for the role admin; yours is viewer').waitFor();
      await page.evaluate(() => { location.hash = '#/alerts'; });
      await page.getByText('Last message').waitFor();
      assert.equal(await page.getByRole('button', { name: 'Send a test' }).count(), 0);
    });
    await withPage({ path: '#/wan/cable', role: 'operator', expect: ['403'] }, async (page) => {
      await page.getByRole('button', { name: 'Drain' }).waitFor();
      await page.evaluate(() => { location.hash = '#/alerts'; });
      await page.getByRole('button', { name: 'Send a test' }).waitFor();
      assert.equal(await page.getByRole('button', { name: 'Add' }).count(), 0);
    });
  });
});

const edit = async (page, change) => {
  const area = page.getByLabel('Text of the configuration');
  await area.waitFor();
  await area.fill(change(await area.inputValue()));
};

describe('the editor', () => {
  test('shows findings at their lines, previews, and applies', () => withPage({ path: '#/config', expect: ['422'], width: 1100 }, async (page, mock, world) => {
    await edit(page, (t) => t.replace("option enabled '1'", "option enabled '1'\n\toption interval 'soon'"));
    await page.getByText("'soon' is not a number").waitFor();
    await page.getByText('1 error').waitFor();
    const line = world.config.text.split('\n').indexOf("\toption enabled '1'") + 2;
    assert.equal(await page.locator('.gutter .error').textContent(), String(line));
    await page.getByRole('button', { name: `line ${line}` }).click();
    const selected = await page.evaluate(() => { const a = document.querySelector('textarea'); return a.value.slice(a.selectionStart, a.selectionEnd); });
    assert.equal(selected, "\toption interval 'soon'");
    await accessible(page, 'editor with a finding');
    await shot(page, 'editor-finding');
    await page.getByRole('button', { name: 'Review and apply' }).click();
    await page.getByRole('button', { name: 'Apply', exact: true }).click();
    await page.getByRole('alert').getByText('the configuration would be refused').waitFor();
    assert.equal(world.config.revision, 1, 'nothing is applied halfway');
    await page.getByRole('button', { name: 'Back' }).click();
    await edit(page, (t) => t.replace("'soon'", "'2'"));
    await page.getByText('No findings').waitFor();
    await page.getByRole('button', { name: 'Review and apply' }).click();
    const dialog = page.getByRole('dialog', { name: 'Apply this change?' });
    await dialog.getByText("option interval '2'").waitFor();
    assert.equal(await dialog.locator('.diff .ins').count(), 1);
    assert.equal(await dialog.locator('.diff .del').count(), 0);
    await dialog.getByText('3 changes; what is not listed is not touched').waitFor();
    await accessible(page, 'preview');
    await shot(page, 'preview');
    await page.getByRole('button', { name: 'Apply', exact: true }).click();
    await page.getByText('The configuration is in force.').waitFor();
    assert.match(world.config.text, /option interval '2'/);
    assert.equal(await page.getByRole('button', { name: 'Review and apply' }).isDisabled(), true);
  }));

  test("does not overwrite somebody else's change unseen", () => withPage({ path: '#/config', expect: ['412'] }, async (page, mock, world) => {
    await edit(page, (t) => `${t}# mine\n`);
    world.config.text += '# theirs\n';
    world.config.revision += 1;
    await page.getByRole('button', { name: 'Review and apply' }).click();
    await page.getByRole('button', { name: 'Apply', exact: true }).click();
    const dialog = page.getByRole('dialog', { name: 'Changed by somebody else' });
    await dialog.getByText('# theirs').waitFor();
    assert.ok(!world.config.text.includes('# mine'));
    await accessible(page, 'lost update');
    await shot(page, 'lost-update');
    await dialog.getByRole('button', { name: 'Compare mine with theirs' }).click();
    await page.locator('.diff .del', { hasText: '# theirs' }).waitFor();
    await page.locator('.diff .ins', { hasText: '# mine' }).waitFor();
    await page.getByRole('button', { name: 'Apply', exact: true }).click();
    await page.getByText('The configuration is in force.').waitFor();
    assert.ok(world.config.text.includes('# mine') && !world.config.text.includes('# theirs'));
  }));

  test('fits a phone, and the draft survives a reload', () => withPage({ path: '#/config', width: 360, height: 740 }, async (page) => {
    await edit(page, (t) => t.replace("'fiber'", "'glasfaser'"));
    await page.getByRole('button', { name: 'Review and apply' }).click();
    await page.getByRole('dialog').getByText('3 changes').waitFor();
    await fits(page, 'preview on a phone');
    await accessible(page, 'preview on a phone');
    await shot(page, 'preview-phone');
    await page.reload();
    await page.waitForFunction(() => document.querySelector('textarea') && document.querySelector('textarea').value.includes("'glasfaser'"));
  }));
});

describe('the settings of a WAN', () => {
  test('are judged beside their fields, and change nothing else in the file', () => withPage({ path: '#/wan/fiber' }, async (page, mock, world) => {
    await page.getByRole('link', { name: 'Settings' }).click();
    await page.getByRole('heading', { level: 1, name: 'Settings of fiber' }).waitFor();
    assert.equal(await page.getByLabel('Targets', { exact: true }).inputValue(), '1.1.1.1 8.8.8.8 2606:4700:4700::1111');
    await page.getByLabel('Bad rounds until offline').fill('many');
    const wrong = page.locator('.field', { has: page.getByLabel('Bad rounds until offline') });
    await wrong.getByText("'many' is not a number").waitFor();
    assert.equal(await page.getByLabel('Bad rounds until offline').getAttribute('aria-invalid'), 'true');
    await accessible(page, 'settings with an error');
    await shot(page, 'settings', { fullPage: true });
    await page.getByLabel('Bad rounds until offline').fill('3');
    await wrong.getByText("'many' is not a number").waitFor({ state: 'detached' });
    await page.getByLabel('Targets', { exact: true }).fill('1.1.1.1, 9.9.9.9');
    await page.getByLabel('Judge latency').selectOption('');
    const before = world.config.text;
    await page.getByRole('button', { name: 'Review and apply' }).click();
    await page.locator('.diff .ins', { hasText: "option down '3'" }).waitFor();
    await page.getByRole('button', { name: 'Apply', exact: true }).click();
    await page.getByText('The configuration is in force.').waitFor();
    assert.equal(world.config.text, before.replace("\tlist track_ip '8.8.8.8'\n\tlist track_ip '2606:4700:4700::1111'", "\tlist track_ip '9.9.9.9'")
      .replace("\toption check_quality '1'\n", '').replace("recovery_latency '60'\n", "recovery_latency '60'\n\toption down '3'\n"));
  }));

  test('fit a phone', () => withPage({ path: '#/wan/fiber/settings', width: 360, height: 740 }, async (page) => {
    await page.getByLabel('Bad rounds until offline').waitFor();
    await fits(page, 'settings');
    await accessible(page, 'settings');
  }));
});

describe('the set-up', () => {
  test('failover in four clicks', () => withPage({}, async (page, mock, world) => {
    await page.getByText('All 3 WANs work.').waitFor();
    let clicks = 0;
    const click = async (locator) => { clicks += 1; await locator.click(); };
    await click(page.getByRole('link', { name: 'Set-up' }));
    await click(page.getByRole('button', { name: 'Continue' }));
    await accessible(page, 'set-up, mode');
    await shot(page, 'wizard-mode');
    await click(page.getByRole('button', { name: 'Review' }));
    await page.locator('.diff').waitFor();
    await click(page.getByRole('button', { name: 'Apply', exact: true }));
    await page.getByRole('heading', { name: 'Done.' }).waitFor();
    assert.equal(clicks, 4);
    await accessible(page, 'set-up, done');
    await shot(page, 'wizard-done');
    const text = world.config.text;
    assert.match(text, /config member 'fiber_m1_w1'[\s\S]*config member 'cable_m2_w1'[\s\S]*config member 'lte_m3_w1'/);
    assert.match(text, /config policy 'failover'\n\tlist use_member 'fiber_m1_w1'\n\tlist use_member 'cable_m2_w1'/);
    assert.match(text, /config alert 'ops'/, 'what is no WAN, policy or rule stays');
    assert.ok(!text.includes("'balanced'") && text.startsWith('# The WANs of this router\nconfig globals'));
  }));

  test('balancing with chosen WANs, names and weights, as TOML', () => withPage({ path: '#/wizard', config: { file: '/etc/mwan.toml', format: 'toml', text: '[web]\nenabled = true\n\n[wan.old]\ndevice = "eth9"\n' } }, async (page, mock, world) => {
    await page.getByLabel('wwan0').uncheck();
    const name = page.getByLabel('Name').first();
    await name.fill('with space');
    await page.getByText('Letters, digits and _ only.').waitFor();
    assert.equal(await page.getByRole('button', { name: 'Continue' }).isDisabled(), true);
    await name.fill('eth2');
    await page.getByText('Two WANs have this name.').first().waitFor();
    await accessible(page, 'set-up with an error');
    await name.fill('glass');
    await page.getByRole('button', { name: 'Continue' }).click();
    await page.getByText('Load balancing').click();
    await page.getByLabel('Weight of glass').fill('3');
    await page.getByText('75 %').waitFor();
    await page.getByText('They are replaced by these').waitFor();
    await page.getByRole('button', { name: 'Review' }).click();
    await page.locator('.diff').waitFor();
    await page.getByRole('button', { name: 'Apply', exact: true }).click();
    await page.getByRole('heading', { name: 'Done.' }).waitFor();
    assert.equal(world.config.text, `[web]
enabled = true

[wan.glass]
device = "eth1"
targets = ["1.1.1.1", "8.8.8.8", "9.9.9.9", "2606:4700:4700::1111", "2001:4860:4860::8888", "2620:fe::fe"]

[wan.eth2]
device = "eth2"
targets = ["1.1.1.1", "8.8.8.8", "9.9.9.9"]

[policy.balanced]
balance = { glass = 3, eth2 = 1 }

[[rule]]
name = "https"
proto = "tcp"
dport = "443"
sticky = true
policy = "balanced"

[[rule]]
name = "everything"
policy = "balanced"
`);
  }));

  test('without a default route it says what to do', async () => {
    const mock = await createMock({ interfaces: 0, events: 0 });
    const { page, done } = await open(browser, mock);
    await page.getByText('No WAN is configured yet.').waitFor();
    await page.getByRole('link', { name: 'Set up your WANs' }).click();
    await page.getByText('No default route was found.').waitFor();
    await accessible(page, 'nothing found');
    await shot(page, 'wizard-nothing');
    await done();
    await mock.close();
  });
});

describe("a cloud's document", () => {
  const text = "config globals 'globals'\n\toption mode 'FAIL_OVER'\n\nconfig rule 'DEFAULT_ANY'\n\toption use_policy 'FAIL_OVER'\n\nconfig cloud 'multiWanV2'\n\toption document '{}'\n";
  test('its mode is switched, with the change shown first', () => withPage({ path: '#/policies', config: { text } }, async (page, mock, world) => {
    await page.getByRole('button', { name: 'Load balancing' }).click();
    const dialog = page.getByRole('dialog', { name: 'Apply this change?' });
    await dialog.locator('.diff .ins', { hasText: "option use_policy 'LOAD_BALANCE'" }).waitFor();
    await accessible(page, 'mode');
    await page.getByRole('button', { name: 'Apply', exact: true }).click();
    await page.getByText('The configuration is in force.').waitFor();
    await page.getByRole('button', { name: 'Load balancing', pressed: true }).waitFor();
    assert.equal(world.config.text, text.replaceAll('FAIL_OVER', 'LOAD_BALANCE'));
    await shot(page, 'mode');
    await page.evaluate(() => { location.hash = '#/wizard'; });
    await page.getByRole('button', { name: 'Continue' }).click();
    await page.getByText("This file follows a cloud's document").waitFor();
  }));
  test('without one there is no such switch', () => withPage({ path: '#/policies' }, async (page, mock) => {
    await page.getByText('Would use now').waitFor();
    await until(() => mock.requests.includes('GET /api/v1/config'));
    assert.equal(await page.getByRole('group', { name: 'Mode' }).count(), 0);
    assert.ok(!mock.requests.some((r) => r.includes('cloud')));
  }));
});

/** Waits for something that no page shows. */
async function until(condition) {
  for (let i = 0; i < 600 && !condition(); i += 1) await new Promise((next) => { setTimeout(next, 50); });
  assert.ok(condition());
}

describe('notifications', () => {
  test('are added with every field judged beside it, and tested', () => withPage({ path: '#/alerts' }, async (page, mock, world) => {
    await page.getByRole('button', { name: 'Send a test by ops' }).click();
    await page.getByText('A test was sent by ops.').waitFor();
    world.testError = 'mail.example.com:587: connection refused';
    await page.getByRole('button', { name: 'Send a test by ops' }).click();
    await page.getByRole('alert').getByText('mail.example.com:587: connection refused').waitFor();
    await page.getByRole('button', { name: 'Dismiss' }).last().click();
    assert.deepEqual(world.tests, ['ops', 'ops']);
    await page.getByRole('button', { name: 'Add' }).click();
    await page.getByRole('button', { name: 'Webhook' }).click();
    await page.getByLabel('Service').selectOption('ntfy');
    await page.getByLabel('Name').fill('ops');
    await page.getByLabel('URL').fill('not a url');
    await page.getByRole('button', { name: 'Review and apply' }).click();
    await page.getByText('There is another one of this name.').waitFor();
    await page.getByText('A URL, as https://ntfy.sh/my-topic.').waitFor();
    await accessible(page, 'form with errors');
    await shot(page, 'alerts-form');
    await page.getByLabel('Name').fill('phone');
    await page.getByLabel('URL').fill('https://ntfy.example/it\'s');
    await page.getByRole('button', { name: 'Review and apply' }).click();
    await page.locator('.diff .ins').first().waitFor();
    await page.getByRole('button', { name: 'Apply', exact: true }).click();
    await page.getByText('The configuration is in force.').waitFor();
    assert.match(world.config.text, /config alert 'phone'\n\toption type 'webhook'\n\toption severity 'warning'\n\toption shape 'ntfy'\n\toption url 'https:\/\/ntfy.example\/it'\\''s'\n$/);
    await page.getByText('Not in force.').waitFor();
  }));

  test('are edited in place and removed', () => withPage({ path: '#/alerts', width: 360, height: 740 }, async (page, mock, world) => {
    await page.getByRole('button', { name: 'Edit ops' }).click();
    await page.getByLabel('To', { exact: true }).fill('a@example.com, b@example.com');
    await page.getByLabel('Encryption').selectOption('tls');
    await fits(page, 'form');
    await accessible(page, 'form');
    await page.getByRole('button', { name: 'Review and apply' }).click();
    await page.getByRole('button', { name: 'Apply', exact: true }).click();
    await page.getByText('a@example.com, b@example.com').waitFor();
    await page.getByRole('button', { name: 'Keep', exact: true }).click();
    await page.getByText('The settings stay.').waitFor();
    assert.match(world.config.text, /config alert 'ops'\n\toption type 'email'\n\tlist to 'a@example.com'\n\tlist to 'b@example.com'\n\toption from 'router@example.com'\n\toption server 'mail.example.com'\n\toption security 'tls'\n/);
    await page.getByRole('button', { name: 'Remove ops' }).click();
    await page.getByRole('button', { name: 'Apply', exact: true }).click();
    // What was said of the change before may still be there to be read: the router is looked at instead.
    for (let n = 0; n < 600 && world.config.text.includes('config alert'); n++) await page.waitForTimeout(50);
    assert.ok(!world.config.text.includes('config alert'));
    await page.getByText('The configuration is in force.').first().waitFor();
  }));
});
