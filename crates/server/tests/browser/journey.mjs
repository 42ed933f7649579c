// The whole journey of a new user: mail, link, Steam, import, portfolio, a second browser,
// sign-out, deletion of the account.
import assert from 'node:assert/strict';
import { assertNoViolations, base, inspect, person, scenario } from './driver.mjs';

const backstage = process.env.TRACERA_BACKSTAGE;
const openid = new URL(process.env.TRACERA_OPENID).origin;
const images = new URL(process.env.TRACERA_IMAGES).origin;
const NINA = 'nina@example.com';
const FIREFOX = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0';
const COOKIES = [
  'asked',
  'confirming',
  'csrf_visitor',
  'device',
  'form',
  'last_used',
  'next',
  'passkey-offer',
  'session',
  'transaction',
  'visitor',
];

const tell = (path) =>
  fetch(`${backstage}${path}`, { method: 'POST' }).then((answer) => assert.ok(answer.ok, path));

// The link and the code of the mail after the first `before`.
async function mail(before) {
  for (const end = Date.now() + 10_000; Date.now() < end;) {
    const mails = await fetch(`${backstage}/mails/${NINA}`).then((answer) => answer.json());
    const text = mails.filter((one) => one.includes('/magic/verify')).at(before);
    if (text)
      return { link: text.match(/http\S+verify\S+/)[0], code: text.match(/\b\d{6}\b/)[0], text };
  }
  throw new Error('no mail came');
}

async function askForLink(page) {
  await page.getByLabel('E-mail address').fill(NINA);
  await page.getByRole('button', { name: 'Send me a sign-in link' }).click();
  await page.waitForURL('**/login/code');
}

// Checks the attributes of every cookie of the site, as the browser stores them.
async function checkCookies(context) {
  const cookies = (await context.cookies()).filter(({ domain }) => domain === 'localhost');
  for (const { name, httpOnly, sameSite, path } of cookies) {
    assert.ok(COOKIES.includes(name), name);
    assert.deepEqual([name, httpOnly, sameSite, path], [name, true, 'Lax', '/']);
  }
  return cookies.map(({ name }) => name);
}

await scenario(async (browser) => {
  const laptop = await person(browser, {}, [openid, images]);
  const { page, context } = laptop;

  // The address of the site is all that a user needs.
  await page.goto('/');
  await page.waitForURL(`${base}/login`);
  await askForLink(page);
  await inspect(page, 'journey-1-code');
  const first = await mail(0);
  assert.ok(
    first.text.includes(first.code) &&
      first.link.startsWith(`${base}/api/v1/auth/magic/verify?token=`),
  );
  await page.goto(first.link);
  await page
    .getByText('n***@example.com')
    .or(page.getByText(/n.*@example\.com/))
    .first()
    .waitFor();
  await inspect(page, 'journey-2-confirm');
  assert.ok(
    !(await checkCookies(context)).includes('session'),
    'the page of a link signs nobody in',
  );
  await page.getByRole('button', { name: 'Sign in on this device' }).click();
  await page.getByRole('heading', { name: 'Two clicks to what your skins are worth' }).waitFor();
  assert.ok((await checkCookies(context)).includes('session'));
  await inspect(page, 'journey-3-first-use');

  // The first click: Steam, through a page that continues by itself. The test holds that page once
  // to inspect it.
  const leaving = '**/account/providers/link';
  await page.route(leaving, async (route) => {
    const response = await route.fetch();
    const html = (await response.text()).replace(/<meta http-equiv="refresh"[^>]*>/, '');
    await route.fulfill({ response, body: html });
  });
  await page.getByRole('button', { name: 'Link Steam' }).click();
  await page.getByRole('heading', { name: 'On to Steam…' }).waitFor();
  await inspect(page, 'journey-4-leaving');
  await page.unroute(leaving);
  await page.goto('/');
  await page.getByRole('button', { name: 'Link Steam' }).click();
  await page.waitForURL(`${openid}/**`);
  await page.getByLabel('SteamID').fill('76561198000000001');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.waitForURL(`${base}/`);
  await page.getByText('Done').waitFor();
  await checkCookies(context);
  await inspect(page, 'journey-5-linked');

  // The second click: the import, page by page.
  await page.getByRole('button', { name: 'Import my inventory' }).click();
  await page.getByRole('heading', { name: 'Importing your inventory' }).waitFor();
  await tell('/steam/pages/1');
  await page.getByText(/Read 12 of 33 items on 1 page/).waitFor();
  assert.equal(await page.getByRole('progressbar').getAttribute('value'), '12');
  await inspect(page, 'journey-6-importing');
  await page.reload();
  await page.getByText(/Read 12 of 33 items on 1 page/).waitFor();
  await tell('/steam/pages/1');
  await page.getByText(/Read 24 of 33 items on 2 pages/).waitFor();
  await tell('/steam/pages/1');
  await page.getByText('What your inventory is worth').waitFor();
  assert.equal(await page.locator('.total').textContent(), '$4,267.96');
  await page.getByText('Prices from Skinport').waitFor();
  await page.getByText('1 item has no price').waitFor();

  // Pictures come from the only allowed host. Where there is none, a drawing is shown.
  await page.locator('tbody tr').last().scrollIntoViewIfNeeded();
  await page.waitForFunction(() =>
    [...document.querySelectorAll('.picture img')].every((img) => img.naturalWidth > 0),
  );
  const drawn = await page
    .locator('tbody tr', { has: page.locator('.picture:not(:has(img)) .icon:visible') })
    .all();
  const names = await Promise.all(drawn.map((row) => row.locator('th a').textContent()));
  assert.deepEqual(names.sort(), ['Souvenir Charm | Austin 2025', 'Sticker | Crown (Foil)']);
  await inspect(page, 'journey-7-portfolio');

  // A second browser.
  const desktop = await person(browser, { userAgent: FIREFOX }, [images]);
  await desktop.page.goto('/account');
  await askForLink(desktop.page);
  await desktop.page.goto((await mail(1)).link);
  await desktop.page.getByRole('button', { name: 'Sign in on this device' }).click();
  await desktop.page.waitForURL(`${base}/account`);
  await page.goto('/account');
  const row = page.locator('#sessions li', { hasText: 'Firefox on Linux' });
  await row.waitFor();
  await inspect(page, 'journey-8-account');

  // Ended from the first browser: the second is signed out by itself.
  await desktop.page.bringToFront();
  const live = desktop.page.waitForRequest('**/account/live');
  await desktop.page.reload();
  await live;
  const left = desktop.page.waitForRequest(/login\?error=signed_out/);
  await row.getByRole('button', { name: /End/ }).click();
  await left;
  await desktop.page.getByText('You have been signed out on this device').waitFor();
  await desktop.page.goBack();
  for (const text of [NINA, 'Where you are signed in']) {
    assert.equal(
      await desktop.page.getByText(text).count(),
      0,
      `going back shows nothing: ${text}`,
    );
  }

  // The deletion of the account.
  await tell('/trader');
  await page.bringToFront();
  await page.getByText('The session is over.').waitFor();
  await page.getByText('Delete my account…').click();
  await page.getByLabel('to confirm').fill('delete my account');
  await page.getByRole('button', { name: 'Delete everything in 7 days' }).click();
  await page.getByText('everything in it will be deleted').waitFor();
  await inspect(page, 'journey-9-deleted');
  assert.ok(!(await checkCookies(context)).includes('session'));
  for (const path of ['/', '/account']) {
    await page.goto(path);
    await page.waitForURL('**/login**');
  }
  await page.goBack();
  assert.equal(await page.getByText('What your inventory is worth').count(), 0);
  await page.goto(first.link);
  await page.getByText('no longer works').waitFor();

  // A user with Steam only returns to the requested page, and cannot unlink the last sign-in
  // method.
  const gamer = await person(browser, {}, [openid]);
  await gamer.page.goto('/account');
  await gamer.page.getByRole('link', { name: 'Continue with Steam' }).click();
  await gamer.page.getByLabel('SteamID').fill('76561198000000002');
  await gamer.page.getByRole('button', { name: 'Sign in' }).click();
  await gamer.page.waitForURL(`${base}/account`);
  await checkCookies(gamer.context);
  await gamer.page.getByText('SteamID 76561198000000002').waitFor();
  await gamer.page.getByRole('button', { name: 'Unlink Steam' }).click();
  await gamer.page.getByRole('alert').getByText('That is the only way into your account').waitFor();
  await inspect(gamer.page, 'journey-10-last-way-in');
  await gamer.page.getByRole('button', { name: 'Sign out', exact: true }).click();
  await gamer.page.getByText('You are signed out.').waitFor();

  assertNoViolations(laptop, desktop, gamer);
});
