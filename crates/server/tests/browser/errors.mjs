// Error pages: an expired form, an unknown page, too many attempts, an unavailable service.
import assert from 'node:assert/strict';
import { assertNoViolations, base, inspect, mailbox, person, scenario, signIn } from './driver.mjs';

await scenario(async (browser) => {
  const ann = await person(browser);
  const { page } = ann;
  await page.goto(mailbox);
  await page.getByText('No mail yet').waitFor();
  await inspect(page, 'mailbox-empty');
  await signIn(page, 'ann@example.com');

  await page.goto('/account');
  await page.evaluate(() => {
    for (const field of document.getElementsByName('csrf_token')) field.value = 'old';
  });
  await page.getByRole('button', { name: 'Sign out', exact: true }).click();
  await page.getByRole('heading', { name: 'This page was open for too long' }).waitFor();
  await inspect(page, 'error-403');

  // A page under an address other than the site's own links to the site's address.
  const elsewhere = base.replace('localhost', '127.0.0.1');
  const otto = await person(browser, {}, [elsewhere]);
  await otto.page.goto(`${elsewhere}/login`);
  await otto.page.getByLabel('E-mail address').fill('otto@example.com');
  await otto.page.getByRole('button', { name: 'Send me a sign-in link' }).click();
  await otto.page.getByRole('heading', { name: 'came from another address' }).waitFor();
  await inspect(otto.page, 'error-403-address');
  await otto.page.getByRole('link', { name: 'Go to the start page' }).click();
  await otto.page.waitForURL(`${base}/login`);

  assert.equal((await page.goto('/nothing')).status(), 404);
  await page.getByRole('heading', { name: 'There is nothing here' }).waitFor();
  await inspect(page, 'error-404');

  // Every error code that an address can carry has a message with a next step.
  const eve = await person(browser);
  for (const code of [
    'cancelled',
    'sign_in_expired',
    'google_refused',
    'github_refused',
    'steam_refused',
    'oidc_refused',
    'google_unavailable',
    'github_unavailable',
    'steam_unavailable',
    'oidc_unavailable',
    'email_unverified',
    'account_exists',
    'proof_mailed',
    'identity_taken',
    'already_linked',
    'session_changed',
    'unavailable',
    'link_invalid',
    'signed_out',
    'session_over',
    'other_account',
  ]) {
    await eve.page.goto(`/login?error=${code}`);
    assert.doesNotMatch(await eve.page.getByRole('alert').textContent(), /did not work/, code);
    await eve.page.getByRole('button', { name: 'Send me a sign-in link' }).waitFor();
  }
  await page.goto('/account?error=last_way_in');
  await page.getByRole('alert').getByText('only way into your account').waitFor();
  await inspect(page, 'account-problem');
  await page.goto('/undo?token=x');
  await page.getByRole('heading', { name: 'This link no longer works' }).waitFor();
  await inspect(page, 'undo-used');
  await page.goto('/email?token=x');
  await page.getByRole('heading', { name: 'Is this your address?' }).waitFor();
  await inspect(page, 'email-confirm');

  // Viewing pages is not limited; sending forms is.
  for (let looks = 0; looks < 25; looks += 1) await eve.page.goto('/login');
  await eve.page.getByLabel('E-mail address').fill('eve@example.com');
  await eve.page.getByRole('button', { name: 'Send me a sign-in link' }).click();
  await eve.page.waitForURL('**/login/code');
  for (let tries = 0; tries < 20; tries += 1) {
    const [answer] = await Promise.all([
      eve.page.waitForResponse((response) => response.request().method() === 'POST'),
      eve.page.waitForEvent('load'),
      eve.page.getByLabel('Six-digit code').fill('000000'),
    ]);
    if (answer.status() === 429) break;
  }
  await eve.page.getByRole('heading', { name: 'That was a bit fast' }).waitFor();
  await eve.page.getByText(/Please wait \d+ seconds/).waitFor();
  await inspect(eve.page, 'error-429');
  await eve.page.goto('/login');

  // Redis is unavailable: the page says so, and nobody is signed out.
  await fetch(`${process.env.TRACERA_BACKSTAGE}/redis/away`, { method: 'POST' });
  assert.equal((await page.goto('/account')).status(), 503);
  await page.getByRole('heading', { name: 'Back in a moment' }).waitFor();
  await page.getByRole('link', { name: 'Try again' }).click();
  await page.waitForURL(`${base}/account`);
  await page.getByRole('heading', { name: 'Back in a moment' }).waitFor();
  await inspect(page, 'error-503');
  assert.ok((await ann.context.cookies(base)).some(({ name }) => name === 'session'));

  assertNoViolations(ann, otto, eve);
});
