// The states of a portfolio: new, waiting, private, empty, full, and Steam unavailable.
import assert from 'node:assert/strict';
import { assertNoViolations, base, inspect, person, scenario, signIn } from './driver.mjs';

const images = new URL(process.env.TRACERA_IMAGES).origin;

await scenario(async (browser) => {
  const nina = await person(browser);
  await signIn(nina.page, 'nina@example.com');
  await nina.page.getByRole('button', { name: 'Link Steam' }).waitFor();
  await inspect(nina.page, 'portfolio-first-use');

  // Waiting for Steam, as the stream of an import reports it.
  const petra = await person(browser);
  await signIn(petra.page, 'petra@example.com');
  const waiting = JSON.stringify({
    stage: 'waiting',
    pages: 2,
    items_found: 4000,
    items_total: 5321,
    items_matched: 3900,
    wait_seconds: 24,
  });
  await petra.page.route('**/import/events', (route) =>
    route.fulfill({
      contentType: 'text/event-stream',
      body: `retry: 600000\nevent: progress\ndata: ${waiting}\n\n`,
    }),
  );
  await petra.page.route('**/portfolio/import', () => {});
  await petra.page.getByRole('button', { name: 'Import my inventory' }).click();
  await petra.page.getByText('Waiting 24 s for Steam').waitFor();
  assert.ok(await petra.page.getByRole('button', { name: 'Importing…' }).isDisabled());
  await inspect(petra.page, 'portfolio-waiting');
  // The page is left before its request is released. Otherwise it would navigate by itself when
  // that fails.
  await petra.page.goto('about:blank');
  await petra.page.unrouteAll({ behavior: 'ignoreErrors' });
  await petra.page.goto('/');
  await petra.page.getByRole('button', { name: 'Import my inventory' }).click();
  await petra.page.getByRole('heading', { name: 'Your Steam inventory is private' }).waitFor();
  await inspect(petra.page, 'portfolio-private');
  assert.ok(petra.page.url().startsWith(base));
  // During another attempt, the page hides the earlier failure.
  await petra.page.route('**/portfolio/import', () => {});
  await petra.page.getByRole('button', { name: 'Import my inventory' }).click();
  await petra.page.getByRole('heading', { name: 'Importing your inventory' }).waitFor();
  assert.ok(
    await petra.page.getByRole('heading', { name: 'Your Steam inventory is private' }).isHidden(),
  );
  await petra.page.goto('about:blank');
  await petra.page.unrouteAll({ behavior: 'ignoreErrors' });

  // The cookie is gone meanwhile, which the open stream cannot report.
  const stream = petra.page.waitForResponse('**/account/live');
  await petra.page.goto('/');
  await stream;
  await petra.context.clearCookies();
  await petra.page.getByRole('button', { name: 'Import my inventory' }).click();
  await petra.page.getByText('You have been signed out on this device').waitFor();

  const gwen = await person(browser);
  await signIn(gwen.page, 'gwen@example.com');
  await gwen.page.getByRole('button', { name: 'Import my inventory' }).click();
  await gwen.page
    .getByRole('alert')
    .getByText('Steam does not give us what we ask for just now')
    .waitFor();
  assert.ok(await gwen.page.getByRole('button', { name: 'Import my inventory' }).isEnabled());
  await inspect(gwen.page, 'portfolio-steam-away');

  const bea = await person(browser);
  await signIn(bea.page, 'bea@example.com');
  await bea.page.getByRole('button', { name: 'Import my inventory' }).click();
  await bea.page.getByRole('heading', { name: 'Nothing in it that others can see' }).waitFor();
  await bea.page.getByText('Steam hides 7 more from others for now').waitFor();
  await inspect(bea.page, 'portfolio-empty');

  const hugo = await person(browser, {}, [images]);
  await signIn(hugo.page, 'hugo@example.com');
  await hugo.page.getByRole('button', { name: 'Import my inventory' }).click();
  await hugo.page.getByText('Page 1 of 2').waitFor();
  await hugo.page.getByRole('link', { name: 'Next' }).click();
  await hugo.page.waitForURL('**/?*page=2*');
  await hugo.page.getByText('Page 2 of 2').waitFor();
  assert.equal(await hugo.page.locator('tbody tr').count(), 30);
  await inspect(hugo.page, 'portfolio-second-page');

  // Without scripts an import is a form.
  const carl = await person(browser, { javaScriptEnabled: false }, [images]);
  await signIn(carl.page, 'alice@example.com');
  await carl.page.getByRole('button', { name: 'Import my inventory' }).click();
  await carl.page.getByText('$4,267.96').first().waitFor();

  assertNoViolations(nina, petra, gwen, bea, hugo, carl);
});
