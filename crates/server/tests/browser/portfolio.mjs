// The portfolio: the way there for somebody new, an import, what it shows, an inventory that is private.
import assert from 'node:assert/strict';
import { assertNoViolations, base, inspect, person, scenario, signIn } from './driver.mjs';

await scenario(async (browser) => {
  const nina = await person(browser);
  await signIn(nina.page, 'nina@example.com');
  await nina.page.getByRole('button', { name: 'Link Steam' }).waitFor();
  await inspect(nina.page, 'portfolio-first-use');

  const alice = await person(browser);
  const { page } = alice;
  await signIn(page, 'alice@example.com');
  await page.getByRole('button', { name: 'Import my inventory' }).click();
  await page.getByText('What your inventory is worth').waitFor();
  assert.equal(await page.locator('.total').textContent(), '$12,305.05');
  assert.match(await page.getByRole('button', { name: 'Import again' }).textContent(), /Import again in \d+:\d\d/);
  await page.getByText('1 item has no price').waitFor();
  await inspect(page, 'portfolio');

  // The chart by keyboard.
  const chart = page.getByRole('slider');
  await chart.focus();
  await page.keyboard.press('Home');
  assert.match(await chart.getAttribute('aria-valuetext'), /2030-02-.*\$9,000\.00/);
  await chart.hover({ position: { x: 700, y: 40 } });
  assert.match(await page.locator('[data-chart-text]').textContent(), /^2030-0[23]-/);

  // Search, filter and sort are in the address.
  const names = () => page.locator('tbody th a').allTextContents();
  await page.getByLabel('Name').fill('karambit');
  await page.getByRole('button', { name: 'Show', exact: true }).click();
  await page.waitForURL('**/?q=karambit**');
  assert.deepEqual(await names(), ['★ Karambit | Doppler (Factory New)']);
  await page.goto('/?priced=false');
  assert.deepEqual(await names(), ['B']);
  await page.goto('/');
  await page.getByRole('link', { name: 'Item', exact: true }).click();
  await page.waitForURL('**/?sort=name&order=asc');
  assert.deepEqual(await names(), ['A', 'B', '★ Karambit | Doppler (Factory New)']);
  await page.getByRole('link', { name: 'A', exact: true }).click();
  await page.getByText('Each of them').waitFor();
  await inspect(page, 'portfolio-item');
  await page.goto('/?sort=%22%3E%3Cscript%3E&page=x');
  assert.equal((await names()).length, 3);

  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('link', { name: 'Download CSV' }).click(),
  ]);
  assert.equal(download.suggestedFilename(), 'portfolio.csv');

  // Everything the first page needs, together.
  const fresh = await person(browser);
  const bodies = [];
  fresh.page.on('response', (response) => bodies.push(response.body()));
  await fresh.page.goto('/login', { waitUntil: 'networkidle' });
  const bytes = (await Promise.all(bodies)).reduce((sum, body) => sum + body.length, 0);
  assert.ok(bytes > 5_000 && bytes < 60_000, `${bytes} bytes`);

  const petra = await person(browser);
  await signIn(petra.page, 'petra@example.com');
  await petra.page.getByRole('button', { name: 'Import my inventory' }).click();
  await petra.page.getByRole('heading', { name: 'Your Steam inventory is private' }).waitFor();
  await inspect(petra.page, 'portfolio-private');
  assert.ok(petra.page.url().startsWith(base));

  assertNoViolations(nina, alice, petra, fresh);
});
