// Settings that have to be confirmed, what becomes of them when nobody can, and the way back to older ones.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { accessible, fits, hold, launch, shot, tabTo, withRouter } from './browser.mjs';

let browser;
before(async () => { browser = await launch(); });
after(async () => { await browser.close(); });

const withPage = (options, run) => withRouter(browser, options, run);

const edit = async (page, change) => {
  const area = page.getByLabel('Text of the configuration');
  await area.waitFor();
  await area.fill(change(await area.inputValue()));
};

const apply = async (page, time) => {
  await page.getByRole('button', { name: 'Review and apply' }).click();
  if (time !== undefined) await page.getByLabel('If nobody confirms the settings').selectOption(time);
  await page.getByRole('button', { name: 'Apply', exact: true }).click();
};

const bar = (page) => page.getByRole('region', { name: 'Settings that wait to be kept' });
const text = (page) => page.getByLabel('Text of the configuration').inputValue();

describe('settings that wait', () => {
  test('are kept by the keyboard, also after a reload', () => withPage({ path: '#/config' }, async (page, mock, world) => {
    await edit(page, (t) => `${t}# mine\n`);
    await apply(page);
    await bar(page).getByText('Keep these settings?', { exact: true }).waitFor();
    assert.match(await bar(page).getByRole('timer').textContent(), /^(1:00|0:5\d)$/);
    assert.ok(mock.requests.includes('PUT /api/v1/config?confirm=60'));
    await page.locator('[aria-live]', { hasText: 'Without an answer within' }).waitFor({ state: 'attached' });
    await accessible(page, 'settings that wait');
    await shot(page, 'waiting');
    await page.reload();
    await bar(page).getByText('Order of admin').waitFor();
    // Nothing else is offered meanwhile.
    await edit(page, (t) => `${t}# more\n`);
    await page.getByRole('button', { name: 'Review and apply' }).click();
    await page.getByText('Other settings wait to be kept').waitFor();
    await page.locator('.dialogbody .diff').waitFor();
    assert.equal(await page.getByRole('button', { name: 'Apply', exact: true }).isDisabled(), true);
    await page.getByRole('button', { name: 'Back', exact: true }).click();
    // The dialog gives the focus back a moment after it is gone.
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    for (let n = 0; n < 40 && await page.evaluate(() => document.activeElement === document.body); n++) await page.waitForTimeout(50);
    await page.evaluate(() => document.querySelector('h1').focus());
    await page.keyboard.press('Shift+Tab');
    await page.keyboard.press('Shift+Tab');
    await page.keyboard.press('Enter');
    await page.getByText('The settings stay.').waitFor();
    await bar(page).waitFor({ state: 'detached' });
    assert.ok(world.waiting === null && world.config.text.endsWith('# mine\n'));
  }));

  test('are taken back, on a phone', () => withPage({ path: '#/config', width: 360, height: 740 }, async (page, mock, world) => {
    const before = world.config.text;
    await edit(page, (t) => `${t}# mine\n`);
    await apply(page, '600');
    await bar(page).getByText('Keep these settings?', { exact: true }).waitFor();
    assert.match(await bar(page).getByRole('timer').textContent(), /^(10:00|9:5\d)$/);
    await fits(page, 'settings that wait');
    await accessible(page, 'settings that wait, phone');
    await shot(page, 'waiting-phone');
    await page.getByRole('button', { name: 'Take back' }).click();
    await page.getByText('The settings before are in force again.').waitFor();
    assert.equal(world.config.text, before);
    await page.waitForFunction((t) => document.querySelector('textarea') && document.querySelector('textarea').value === t, before);
    assert.equal(await page.getByRole('alert').count(), 0, 'he knows');
  }));

  test('cannot be left alone while they are under way', () => withPage({ path: '#/config', expect: ['412'] }, async (page, mock, world) => {
    await edit(page, (t) => `${t}# mine\n`);
    const letGo = await hold(page, '**/api/v1/config?confirm=*');
    const asked = page.waitForRequest('**/api/v1/config?confirm=*');
    await apply(page);
    await asked;
    world.write(`${world.config.text}# theirs\n`, { way: 'file' });
    for (let n = 0; n < 3; n++) await page.keyboard.press('Escape');
    const dialog = page.getByRole('dialog', { name: 'Apply this change?' });
    await dialog.waitFor();
    assert.ok(await dialog.getByRole('button', { name: 'Back', exact: true }).isDisabled());
    await letGo();
    await page.getByRole('dialog', { name: 'Changed by somebody else' }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    assert.ok((await text(page)).endsWith('# mine\n'));
  }));

  test('go by themselves when nobody answers, and the page says so', () => withPage({ path: '#/config' }, async (page, mock, world) => {
    const before = world.config.text;
    await edit(page, (t) => `${t}# mine\n`);
    await apply(page);
    await bar(page).waitFor();
    world.takeBack();
    await page.getByRole('alert').getByText('The settings were taken back').waitFor();
    await bar(page).waitFor({ state: 'detached' });
    await page.waitForFunction((t) => document.querySelector('textarea') && document.querySelector('textarea').value === t, before);
    await accessible(page, 'taken back');
    await shot(page, 'taken-back');
    await page.getByRole('link', { name: 'What they would have changed' }).click();
    await page.locator('.diff .ins', { hasText: '# mine' }).waitFor();
    await page.getByText('Taken back', { exact: true }).waitFor();
    await page.locator('.note').getByRole('button', { name: 'Dismiss' }).click();
    await page.getByRole('alert').waitFor({ state: 'detached' });
  }));

  test('that cut off the browser come back, which is said when the router answers again', () => withPage({ path: '#/config', expect: ['ERR_', 'Failed to fetch'] }, async (page, mock, world) => {
    await edit(page, (t) => `${t}# mine\n`);
    await apply(page);
    await bar(page).waitFor();
    mock.cut();
    await bar(page).getByText('If that stays so, it takes them back by itself at').waitFor();
    await accessible(page, 'cut off');
    await shot(page, 'cut-off');
    world.takeBack();
    mock.mend();
    await page.getByRole('alert').getByText('The settings were taken back').waitFor();
  }));

  test('whose answer never came are told of as well', () => withPage({ path: '#/config', expect: ['ERR_', 'Failed to fetch'] }, async (page, mock, world) => {
    await edit(page, (t) => `${t}# mine\n`);
    await page.getByRole('button', { name: 'Review and apply' }).click();
    await page.locator('.dialogbody .diff').waitFor();
    // The order arrives, and from then on nothing comes back.
    const write = world.apply.bind(world);
    world.apply = (...order) => { write(...order); mock.cut(); };
    await page.getByRole('button', { name: 'Apply', exact: true }).click();
    await bar(page).getByText('If that stays so, it takes them back by itself at').waitFor();
    assert.ok(world.waiting !== null);
    await page.waitForFunction(() => sessionStorage.getItem('mwan.waiting') !== null);
    world.takeBack();
    mock.mend();
    await page.getByRole('alert').getByText('The settings were taken back').waitFor();
  }));

  test('ordered by somebody else are asked about, too, and not of who may not say', async () => {
    await withPage({}, async (page, mock, world) => {
      await page.getByText('All 3 WANs work.').waitFor();
      world.apply(`${world.config.text}# theirs\n`, { by: 'root', way: 'apply', confirm: 300 });
      await bar(page).getByText('Order of root').waitFor();
      world.keep();
      await page.getByText('The settings stay.').waitFor();
    });
    await withPage({ role: 'operator' }, async (page, mock, world) => {
      await page.getByText('All 3 WANs work.').waitFor();
      world.apply(`${world.config.text}# theirs\n`, { by: 'root', way: 'apply', confirm: 300 });
      await page.getByText('has to be confirmed').first().waitFor();
      assert.equal(await bar(page).count(), 0);
      assert.ok(!mock.requests.some((r) => r.includes('revisions')));
    });
  });

  test('are told of at the login', () => withPage({ path: '#/config', expect: ['401'] }, async (page, mock) => {
    await edit(page, (t) => `${t}# mine\n`);
    await apply(page);
    await bar(page).waitFor();
    mock.expire();
    await page.getByText('New settings wait to be kept: log in and say so').waitFor();
    await accessible(page, 'login while settings wait');
  }));

  test('stay at once if that is chosen, and the choice is kept', () => withPage({ path: '#/config' }, async (page, mock, world) => {
    await edit(page, (t) => `${t}# mine\n`);
    await apply(page, '0');
    await page.getByText('The configuration is in force.').waitFor();
    assert.ok(mock.requests.includes('PUT /api/v1/config') && world.waiting === null);
    await edit(page, (t) => `${t}# more\n`);
    await page.getByRole('button', { name: 'Review and apply' }).click();
    assert.equal(await page.getByLabel('If nobody confirms the settings').inputValue(), '0');
  }));
});

describe('the history', () => {
  test('tells when, who and what, and leads back', () => withPage({ path: '#/config' }, async (page, mock, world) => {
    await edit(page, (t) => `${t}# mine\n`);
    await apply(page, '0');
    await page.getByText('The configuration is in force.').waitFor();
    await page.getByRole('link', { name: 'History' }).click();
    const rows = page.getByRole('table', { name: 'Configurations' }).getByRole('row');
    await rows.nth(2).waitFor();
    assert.match(await rows.nth(1).innerText(), /^2\s[\s\S]*admin\s+Dashboard or API\s+In force/);
    assert.equal(await rows.nth(1).getByRole('button').count(), 0, 'it is in force');
    await page.getByRole('link', { name: 'Changes of configuration 2' }).click();
    await page.locator('.diff .ins', { hasText: '# mine' }).waitFor();
    await accessible(page, 'a configuration of the history');
    await page.getByRole('link', { name: 'History' }).first().click();
    await page.evaluate(() => document.querySelector('h1').focus());
    await tabTo(page, /^button Go back to configuration 1/);
    await page.keyboard.press('Enter');
    await page.getByRole('dialog', { name: 'Apply this change?' }).locator('.diff .del', { hasText: '# mine' }).waitFor();
    await page.getByLabel('If nobody confirms the settings').selectOption('180');
    await page.getByRole('button', { name: 'Apply', exact: true }).click();
    await bar(page).waitFor();
    assert.ok(!world.config.text.includes('# mine'));
    await rows.nth(1).getByText('To be confirmed').waitFor();
    await page.getByRole('button', { name: 'Keep', exact: true }).click();
    await rows.nth(1).getByText('In force').waitFor();
    assert.match(await rows.nth(1).innerText(), /Gone back to/);
    await shot(page, 'history');
  }));

  test('fits a phone, and is not for viewers', async () => {
    await withPage({ path: '#/history', width: 360, height: 740 }, async (page, mock, world) => {
      await page.getByText('Found at a start').waitFor();
      world.apply(`${world.config.text}# theirs\n`, { by: 'root', way: 'apply', confirm: 300 });
      await page.getByRole('button', { name: 'Go back to configuration 1' }).waitFor();
      await fits(page, 'history');
      await accessible(page, 'history on a phone');
      await shot(page, 'history-phone');
    });
    await withPage({ path: '#/history', role: 'viewer', expect: ['403'] }, async (page) => {
      await page.getByText('this is for the role admin; yours is viewer').waitFor();
      assert.equal(await page.getByRole('link', { name: 'History' }).count(), 0);
    });
  });

  test('a number that is not kept says so', () => withPage({ path: '#/history/99', expect: ['404'] }, async (page) => {
    await page.getByText('configuration 99 is not kept').waitFor();
  }));
});
