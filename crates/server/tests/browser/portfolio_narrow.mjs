// A portfolio of large values and long names on small screens: nothing is cut off, and no word is
// broken.
import assert from 'node:assert/strict';
import { assertNoViolations, inspect, person, scenario, signIn } from './driver.mjs';

const images = new URL(process.env.TRACERA_IMAGES).origin;

await scenario(async (browser) => {
  const rita = await person(browser, {}, [images]);
  const { page } = rita;
  await signIn(page, 'rita@example.com');
  await page.getByRole('button', { name: 'Import my inventory' }).click();
  await page.getByText('What your inventory is worth').waitFor();
  await inspect(page, 'portfolio-rich');

  for (const width of [360, 768, 860, 928]) {
    await page.setViewportSize({ width, height: 720 });
    const hidden = await page
      .locator('.scroll')
      .evaluate((table) => table.scrollWidth - table.clientWidth);
    assert.ok(hidden <= 0, `${hidden} px of the table are out of sight at ${width} px`);
  }
  await page.setViewportSize({ width: 360, height: 720 });
  // On a phone the first item is on the first screen, with its float, and the filters are
  // collapsed.
  await page.setViewportSize({ width: 390, height: 844 });
  const first = await page.locator('tbody tr').first().boundingBox();
  assert.ok(first.y + first.height <= 844, `the first item ends at ${first.y + first.height} px`);
  assert.ok(await page.locator('tbody .what').first().getByText('Float 0.1116').isVisible());
  assert.ok(await page.getByLabel('Rarity').isHidden());
  await page.getByText('Filter and order').click();
  assert.ok(await page.getByLabel('Rarity').isVisible());
  await page.setViewportSize({ width: 360, height: 720 });
  for (const name of await page.locator('tbody .what > a').all()) {
    const [room, text] = await name.evaluate((link) => [
      link.parentElement.clientWidth,
      link.textContent,
    ]);
    assert.ok(room > 110, `${text} has ${room} px`);
  }

  // An address may be longer than a line.
  const lena = await person(browser);
  await signIn(lena.page, `${'lena'.repeat(12)}@${'traders'.repeat(8)}.example.com`);
  await lena.page.goto('/account');
  await lena.page.getByText('Change', { exact: true }).click();
  await lena.page
    .getByLabel('New e-mail address')
    .fill(`${'lena'.repeat(14)}@${'traders'.repeat(8)}.example.com`);
  await lena.page.getByRole('button', { name: 'Send a link there' }).click();
  await lena.page.getByText('A mail with a link is on its way').waitFor();
  await inspect(lena.page, 'account-long-address');
  assertNoViolations(rita, lena);
});
