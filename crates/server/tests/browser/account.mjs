// Account security: live lists of sessions in several browsers, export of the data, deletion of the
// account.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import {
  assertNoViolations,
  DESKTOP,
  inspect,
  mailbox,
  person,
  scenario,
  signIn,
} from './driver.mjs';

const FIREFOX = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0';
const IPHONE =
  'Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 ' +
  '(KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1';

await scenario(async (browser) => {
  const laptop = await person(browser, { timezoneId: 'Asia/Tokyo' });
  const desktop = await person(browser, { userAgent: FIREFOX });
  const phone = await person(browser, { userAgent: IPHONE });
  for (const { page } of [laptop, desktop, phone]) await signIn(page, 'dana@example.com');

  const { page } = laptop;
  await page.goto('/account');
  const rows = page.locator('#sessions li');
  assert.equal(await rows.count(), 3);
  assert.match(await rows.first().textContent(), /This device/);
  for (const fact of [/Address/, /Signed in/, /E-mail link/, /Last active/])
    assert.match(await rows.last().textContent(), fact);
  await page.locator('#sessions').getByText('Safari on iPhone').waitFor();
  await page.getByText('Signed in with a browser not seen before').first().waitFor();
  await inspect(page, 'account');

  // On a small screen an address breaks after a dot, and a pressed button stays on its side.
  await page.setViewportSize({ width: 360, height: 740 });
  await page.locator('#methods .address').getByText('dana@example.com').waitFor();
  assert.equal(await page.locator('#methods .address').innerHTML(), 'dana@<wbr>example.<wbr>com');
  const change = page.getByText('Change', { exact: true });
  const right = async () => change.evaluate((button) => button.getBoundingClientRect().right);
  const before = await right();
  await change.click();
  assert.equal(await right(), before);
  await change.click();
  await page.setViewportSize(DESKTOP);

  // The mail about a new device leads to a page that asks, and asking changes nothing.
  const stranger = await person(browser);
  await stranger.page.goto(mailbox);
  const news = stranger.page.locator('article', { hasText: 'New sign-in to Tracera' }).first();
  await news.getByRole('link', { name: 'Open the link' }).click();
  await stranger.page.getByRole('heading', { name: 'Take your account back?' }).waitFor();
  await inspect(stranger.page, 'undo');

  // Ended from here: the other page signs itself out, and its row disappears.
  await desktop.page.goto('/account');
  await page.getByRole('button', { name: /End the session of Firefox/ }).click();
  await desktop.page.getByText('You have been signed out on this device').waitFor();
  await page.getByText('The session is over.').waitFor();
  assert.equal(await rows.count(), 2);
  await page.getByText('Session ended: Firefox on Linux, 127.0.0.1').waitFor();

  // Signed out there: the row disappears here without a reload. Signed in again: it appears.
  await phone.page.goto('/account');
  await phone.page.getByRole('button', { name: 'Sign out', exact: true }).click();
  await phone.page.getByText('You are signed out.').waitFor();
  await page.waitForFunction(() => document.querySelectorAll('#sessions li').length === 1);
  // Times are in the reader's zone, also in rows that were added later.
  assert.match(await rows.first().textContent(), /Signed in\s*\d+ \w+ \d{4}, \d\d:\d\d GMT\+9/);
  await signIn(phone.page, 'dana@example.com');
  // Open parts stay open, and the focus stays where it was while that element exists.
  await page.getByText('Sign out everywhere else (1)').click();
  await page.getByRole('button', { name: 'Yes, sign out everywhere else' }).focus();
  await signIn(desktop.page, 'dana@example.com');
  await page.waitForFunction(() => document.querySelectorAll('#sessions li').length === 3);
  assert.equal(await page.evaluate(() => document.activeElement.id), 'others-yes');
  await page.getByText('2 other sessions will end at once.').waitFor();
  await page.getByText('Sign out everywhere else (2)').click();
  await page.getByRole('button', { name: /End the session of Firefox/ }).focus();
  await desktop.page.getByRole('button', { name: 'Sign out', exact: true }).click();
  await desktop.page.getByText('You are signed out.').waitFor();
  await page.waitForFunction(() => document.querySelectorAll('#sessions li').length === 2);
  assert.equal(await page.evaluate(() => document.activeElement.id), 'sessions-title');
  await signIn(desktop.page, 'dana@example.com');
  await page.waitForFunction(() => document.querySelectorAll('#sessions li').length === 3);

  // All other sessions at once, by keyboard.
  await page.getByText('Sign out everywhere else (2)').focus();
  await page.keyboard.press('Enter');
  await inspect(page, 'account-others');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await page.getByText('You are signed out everywhere else.').waitFor();
  await phone.page.getByText('You have been signed out on this device').waitFor();
  await desktop.page.getByText('You have been signed out on this device').waitFor();
  assert.equal(await rows.count(), 1);

  // The export as a file.
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('link', { name: 'Download my data' }).click(),
  ]);
  const data = JSON.parse(readFileSync(await download.path(), 'utf8'));
  assert.equal(data.user.email, 'dana@example.com');
  assert.equal(data.sessions.length, 1);
  assert.ok(data.events.some(({ event }) => event === 'other_sessions_revoked'));
  assert.deepEqual([data.linked, data.portfolio_values.history], [[], []]);

  // Deletion is refused with another phrase, and accepted with the right one.
  await page.getByText('Delete my account…').click();
  await page.getByLabel('to confirm').fill('delete');
  await inspect(page, 'account-delete');
  await page.getByRole('button', { name: 'Delete everything in 7 days' }).click();
  await page.locator('#delete').getByRole('alert').getByText('Nothing was deleted').waitFor();
  const typed = page.getByLabel('to confirm');
  assert.equal(
    await typed.getAttribute('aria-describedby'),
    await page.locator('#delete [role=alert]').getAttribute('id'),
  );
  assert.ok(
    await page.evaluate(
      () => document.querySelector('#delete').getBoundingClientRect().bottom <= innerHeight + 1,
    ),
  );
  await inspect(page, 'account-delete-again');
  await typed.fill('Delete My Account');
  await page.getByRole('button', { name: 'Delete everything in 7 days' }).click();
  await page.getByText('everything in it will be deleted').waitFor();
  await page.goto('/account');
  await page.waitForURL('**/login?next=%2Faccount');

  // One button cancels the deletion; a second request is final.
  await signIn(page, 'dana@example.com');
  await page.goto('/account/delete');
  await page.getByText('Your account will be deleted on').waitFor();
  await inspect(page, 'account-leaving');
  await page.getByRole('button', { name: 'Keep my account' }).click();
  await page.getByText('Your account stays').first().waitFor();
  await page.goto('/account/delete');
  await inspect(page, 'account-delete-when');
  await page.getByLabel('to confirm').fill('delete my account');
  await page.getByRole('button', { name: 'Delete everything in 7 days' }).click();
  await page.getByText('everything in it will be deleted').waitFor();

  assertNoViolations(laptop, desktop, phone, stranger);
});
