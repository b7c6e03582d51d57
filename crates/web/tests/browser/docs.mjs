// The pictures of docs/dashboard.md, made anew: `UPDATE_DOCS=1 scripts/test-dashboard`. Small, so that the repository stays so.
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createMock } from './mock.mjs';
import { launch, open } from './browser.mjs';

const to = fileURLToPath(new URL('../../../../docs/dashboard/', import.meta.url));
mkdirSync(to, { recursive: true });
const browser = await launch();

async function picture(name, { options, ready, clip }) {
  const mock = await createMock({ events: 20, sampleMs: 500 });
  const { page, done } = await open(browser, mock, { width: 940, height: 700, ...options });
  await ready(page, mock);
  await page.screenshot({ path: `${to}${name}.png`, clip });
  await done();
  await mock.close();
}

await picture('failover', {
  ready: async (page, mock) => {
    await page.getByText('All 3 WANs work.').waitFor();
    mock.world.fail('fiber');
    await page.getByText('fiber is offline.').waitFor();
    await page.waitForTimeout(4000);
  },
});
await picture('charts', {
  options: { path: '#/wan/cable', scheme: 'dark', height: 640 },
  ready: async (page) => {
    await page.getByRole('button', { name: '1 day', exact: true }).click();
    await page.locator('.plot canvas').nth(3).waitFor();
    await page.locator('.rangebar').evaluate((e) => e.scrollIntoView());
    await page.waitForTimeout(1000);
  },
});
await picture('preview', {
  options: { path: '#/config', height: 560 },
  ready: async (page) => {
    const area = page.getByLabel('Text of the configuration');
    await area.waitFor();
    await area.fill((await area.inputValue()).replace("option weight '3'", "option weight '2'"));
    await page.getByRole('button', { name: 'Review and apply' }).click();
    await page.getByText('what is not listed is not touched').waitFor();
  },
});
await picture('waiting', {
  options: { path: '#/config', height: 400 },
  clip: { x: 225, y: 0, width: 715, height: 190 },
  ready: async (page) => {
    const area = page.getByLabel('Text of the configuration');
    await area.waitFor();
    await area.fill((await area.inputValue()).replace("option weight '3'", "option weight '2'"));
    await page.getByRole('button', { name: 'Review and apply' }).click();
    await page.getByRole('button', { name: 'Apply', exact: true }).click();
    await page.getByRole('timer').waitFor();
    await page.getByText('The configuration is in force.').waitFor({ state: 'detached' });
  },
});
await picture('phone', {
  options: { width: 360, height: 640, scheme: 'dark' },
  ready: async (page) => { await page.getByText('All 3 WANs work.').waitFor(); await page.waitForTimeout(3000); },
});
await browser.close();
