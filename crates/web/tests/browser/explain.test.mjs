// Why a packet leaves by its WAN: asked by a form, by a live connection, by an address that was sent to somebody.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { accessible, fits, focused, launch, shot, tabTo, withRouter } from './browser.mjs';

let browser;
before(async () => { browser = await launch(); });
after(async () => { await browser.close(); });

const withPage = (options, run) => withRouter(browser, options, run);

describe('why a packet leaves by its WAN', () => {
  test('is asked by the keyboard, with every step in the answer', () => withPage({ path: '#/explain', role: 'viewer' }, async (page, mock) => {
    await page.getByLabel('Source', { exact: true }).fill('192.168.1.50');
    await page.getByLabel('Destination').fill('198.51.100.7');
    await page.getByLabel('Port', { exact: true }).fill('443');
    await page.keyboard.press('Enter');
    const said = 'tcp from 192.168.1.50:40000 to 198.51.100.7:443 goes by fiber (75 %) or cable (25 %).';
    await page.locator('.herotitle').getByText(said).waitFor();
    assert.equal(await page.locator('[aria-live]', { hasText: said }).count(), 1, 'it is said, too');
    for (const text of ['no: br-lan is no WAN', 'is in none of 4 networks', '1 rule tried before', 'Rule https', 'By chance, by weight', 'a better tier carries', 'Source after NAT', 'rule everything would decide', 'it comes in by br-lan']) await page.getByText(text).first().waitFor();
    const row = page.getByRole('table', { name: 'Rules that do not match' }).getByRole('row', { name: /voip/ });
    assert.match(await row.innerText(), /voip\s+proto\s+udp\s+tcp/);
    assert.deepEqual(mock.requests.filter((r) => r.includes('api/v1/explain')), ['GET /api/v1/explain?to=198.51.100.7%3A443%2Ftcp&from=192.168.1.50']);
    await accessible(page, 'explanation');
    await shot(page, 'explain-answer', { fullPage: true });
    // The address is the question.
    assert.equal(new URL(page.url()).hash, '#/explain?to=198.51.100.7%3A443%2Ftcp&from=192.168.1.50');
    await page.reload();
    await page.locator('.herotitle').getByText(said).waitFor();
    assert.equal(await page.getByLabel('Port', { exact: true }).inputValue(), '443');
    await page.goBack();
    await page.locator('.herotitle').waitFor({ state: 'detached' });
    assert.equal(await page.getByLabel('Destination').inputValue(), '');
  }));

  test('says what is wrong beside its field', () => withPage({ path: '#/explain', width: 360, height: 740, expect: ['409'] }, async (page) => {
    const wrong = async (label, text) => {
      const field = page.locator('.field.wrong', { has: page.getByLabel(label, { exact: true }) });
      await field.getByText(text).waitFor();
      assert.equal(await page.getByLabel(label, { exact: true }).getAttribute('aria-invalid'), 'true');
      assert.equal(await page.locator('.field.wrong').count(), 1);
    };
    const ask = () => page.getByRole('button', { name: 'Explain' }).click();
    await page.getByLabel('Destination').fill('example.org');
    await ask();
    await wrong('Destination', 'example.org is not an address to send to. Write Destination 1.1.1.1:443/tcp');
    await accessible(page, 'explain with an error');
    await fits(page, 'explain with an error');
    await shot(page, 'explain-error-phone');
    await page.getByLabel('Destination').fill('1.1.1.1');
    await page.getByLabel('Protocol').selectOption('udp');
    await ask();
    await wrong('Port', "The destination's port is not said. Write ADDRESS:PORT/PROTOCOL.");
    await page.getByLabel('Port', { exact: true }).fill('53');
    await page.getByText('More', { exact: true }).click();
    await page.getByLabel('Comes in by').fill('lan9');
    await ask();
    await wrong('Comes in by', "There is no enabled interface 'lan9'. The configuration has: fiber, cable, lte.");
    await page.getByLabel('Comes in by').fill('fiber');
    await ask();
    await wrong('Source', 'A packet that comes in has a source. Add Source ADDRESS.');
    await page.getByLabel('Source', { exact: true }).fill('192.168.1.50');
    await ask();
    await page.locator('.herotitle').waitFor();
    assert.equal(await page.locator('.field.wrong').count(), 0);
    await fits(page, 'explanation on a phone');
  }));

  test('is asked of a live connection in the list', () => withPage({ path: '#/flows', role: 'viewer' }, async (page, mock) => {
    const link = page.getByRole('link', { name: /^Why does tcp from 192\.168\.1\.\d+ to \S+, port \d+, leave by \S+\?$/ }).first();
    await link.waitFor();
    await page.evaluate(() => document.querySelector('h1').focus());
    await tabTo(page, /^a Why does /);
    await page.keyboard.press('Enter');
    await page.getByText('it is on fiber; chance would decide anew if it were new').waitFor();
    assert.match(await focused(page), /^h1 Why this WAN/);
    assert.equal(mock.requests.filter((r) => /explain\?flow=/.test(r)).length, 1);
    await page.getByText('Connection mark').waitFor();
    await accessible(page, 'a live connection');
    await page.getByRole('link', { name: 'describe a packet' }).click();
    await page.getByLabel('Destination').waitFor();
  }));

  test('a thousand rules are folded', () => withPage({ path: '#/' }, async (page, mock, world) => {
    const explain = world.explain.bind(world);
    world.explain = (q) => { const a = explain(q); a.body.rules = [...Array.from({ length: 1000 }, (_, i) => ({ rule: `rule${i}`, matched: false, criterion: 'dest_ip', wanted: '10.0.0.0/8', value: '198.51.100.7' })), a.body.rules[1]]; return a; };
    await page.evaluate(() => { location.hash = '#/explain?to=198.51.100.7'; });
    await page.getByText('1,000 rules tried before').waitFor();
    await page.getByText('Why not').click();
    await page.getByText('The last 200 of them').waitFor();
    assert.equal(await page.getByRole('table', { name: 'Rules that do not match' }).getByRole('row').count(), 201);
    await accessible(page, 'many rules tried');
  }));
});
