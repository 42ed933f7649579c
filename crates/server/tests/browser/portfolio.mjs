// The portfolio: contents, order, pictures and chart.
import assert from 'node:assert/strict';
import { assertNoViolations, inspect, person, scenario, signIn } from './driver.mjs';

const images = new URL(process.env.TRACERA_IMAGES).origin;

await scenario(async (browser) => {
  const alice = await person(browser, {}, [images]);
  const { page } = alice;
  await signIn(page, 'alice@example.com');
  await page.getByRole('button', { name: 'Import my inventory' }).click();
  await page.getByText('What your inventory is worth').waitFor();
  assert.equal(await page.locator('.total').textContent(), '$4,267.96');
  await page.getByText('1 item has no price').waitFor();
  assert.equal(await page.getByText('Each of them').count(), 0);
  await page.locator('tbody tr').last().scrollIntoViewIfNeeded();
  await page.waitForFunction(() =>
    [...document.querySelectorAll('.picture img')].every((img) => img.naturalWidth > 0),
  );
  await inspect(page, 'portfolio');

  // The cooldown counts down, and ends.
  const again = page.getByRole('button', { name: 'Import again' });
  const left = async () => {
    const [, minutes, seconds] = (await again.textContent()).match(/Import again in (\d+):(\d\d)/);
    return Number(minutes) * 60 + Number(seconds);
  };
  const before = await left();
  assert.ok(before <= 600 && before > 500 && (await again.isDisabled()), `${before} s`);
  await page.waitForFunction(
    (text) => !document.querySelector('[data-wait]').textContent.endsWith(text),
    await again.textContent(),
  );
  assert.ok((await left()) < before);

  // The chart by keyboard and by pointer.
  const chart = page.getByRole('slider');
  await chart.focus();
  await page.keyboard.press('Home');
  assert.match(await chart.getAttribute('aria-valuetext'), /^\d+ Feb 2030, .* UTC: \$3,875\.00$/);
  assert.equal(await page.locator('[data-tip] strong').textContent(), '$3,875.00');
  await page.keyboard.press('ArrowRight');
  assert.equal(await chart.getAttribute('aria-valuenow'), '1');
  await chart.hover({ position: { x: 700, y: 40 } });
  assert.match(await page.locator('[data-tip]').textContent(), /^\$[34],[\d.,]+\d+ Mar 2030/);
  await inspect(page, 'portfolio-chart');

  // The whole history is one of several ranges, and it ends at the value shown above.
  await page.getByRole('link', { name: 'All', exact: true }).click();
  await page.waitForURL('**/?range=all#history-title');
  await chart.focus();
  await page.keyboard.press('Home');
  assert.equal(await page.locator('[data-tip] strong').textContent(), '$3,627.00');
  await page.keyboard.press('End');
  assert.equal(
    await page.locator('[data-tip] strong').textContent(),
    await page.locator('.total').textContent(),
  );

  // Search, filter and order are part of the address.
  const names = () => page.locator('tbody th a').allTextContents();
  await page.getByLabel('Name').fill('karambit');
  await page.getByRole('button', { name: 'Show', exact: true }).click();
  await page.waitForURL('**/?q=karambit**#items-title');
  const scrolled = () => page.evaluate(() => scrollY);
  assert.ok((await scrolled()) > 50, 'the page stays at its items');
  assert.deepEqual(await names(), ['★ Karambit | Doppler (Factory New)']);
  await page.goto('/?priced=false');
  assert.deepEqual(await names(), ['Souvenir Charm | Austin 2025']);
  await page.goto('/?rarity=Covert&exterior=Field-Tested');
  assert.deepEqual(await names(), ['AWP | Asiimov (Field-Tested)']);
  await page.goto('/?q=nothing+like+it');
  await page.getByText('Nothing matches.').waitFor();
  await inspect(page, 'portfolio-no-match');
  await page.getByRole('link', { name: 'Show everything' }).click();
  await page.waitForURL((url) => !url.searchParams.has('q'));
  await page.getByRole('link', { name: 'Item', exact: true }).click();
  await page.waitForURL('**/?sort=name#items-title');
  assert.equal((await names())[0], 'AK-47 | Redline (Field-Tested)');
  assert.ok((await scrolled()) > 50, 'the page stays at its items');
  await page.getByLabel('Order', { exact: true }).selectOption('Quantity');
  await page.getByRole('button', { name: 'Show', exact: true }).click();
  await page.waitForURL('**/?*sort=quantity*');
  assert.equal((await names())[0], 'Dreams & Nightmares Case');
  // A search keeps a reversed order.
  await page.goto('/?sort=price&order=asc');
  await page.getByLabel('Name').fill('factory new');
  await page.getByRole('button', { name: 'Show', exact: true }).click();
  await page.waitForURL('**/?q=factory+new*');
  assert.deepEqual(await names(), [
    'Desert Eagle | Blaze (Factory New)',
    '★ Karambit | Doppler (Factory New)',
  ]);
  await page.goto('/?sort=quantity');
  await page.getByRole('link', { name: 'AK-47 | Redline (Field-Tested)' }).click();
  await page.getByText('Each of them').waitFor();
  await page.getByText('Float 0.312345').waitFor();
  const market = page.getByRole('link', { name: 'Steam market' });
  assert.equal(
    await market.getAttribute('href'),
    'https://steamcommunity.com/market/listings/730/AK%2D47%20%7C%20Redline%20%28Field%2DTested%29',
  );
  assert.equal(await market.getAttribute('rel'), 'noreferrer noopener');
  await inspect(page, 'portfolio-item');
  await page.goto('/?q=case');
  await page.getByRole('link', { name: 'Dreams & Nightmares Case' }).click();
  await page.getByText('24 without float').waitFor();
  assert.equal(await page.locator('.events li').count(), 1);
  await page.goto('/?sort=%22%3E%3Cscript%3E&page=x');
  assert.equal((await names()).length, 9);

  // This page allows pictures from one more host; no other page does.
  const policy = async (path) => (await page.goto(path)).headers()['content-security-policy'];
  assert.ok((await policy('/')).includes(`img-src 'self' ${images} data:; `));
  assert.ok(!(await policy('/account')).includes(images));
  await page.goto('/');

  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('link', { name: 'Download CSV' }).click(),
  ]);
  assert.match(download.suggestedFilename(), /^portfolio-2030-\d\d-\d\d\.csv$/);

  // The total size of everything that the first page loads.
  const fresh = await person(browser);
  const bodies = [];
  fresh.page.on('response', (response) => bodies.push(response.body()));
  await fresh.page.goto('/login', { waitUntil: 'networkidle' });
  const bytes = (await Promise.all(bodies)).reduce((sum, body) => sum + body.length, 0);
  assert.ok(bytes > 5_000 && bytes < 60_000, `${bytes} bytes`);

  // Chart and table work without scripts.
  const carl = await person(browser, { javaScriptEnabled: false }, [images]);
  await signIn(carl.page, 'alice@example.com');
  await carl.page.getByText('$4,267.96').first().waitFor();
  assert.match(
    await carl.page.getByRole('img', { name: /^Value from/ }).getAttribute('aria-label'),
    /highest \$/,
  );
  assert.equal(await carl.page.locator('tbody tr').count(), 9);

  assertNoViolations(alice, fresh, carl);
});
