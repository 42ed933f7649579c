// Signing in by mail: by code, by link, by a link opened on another device; signing out.
import assert from 'node:assert/strict';
import {
  askForLink,
  askToConfirm,
  assertNoViolations,
  base,
  inspect,
  mailbox,
  person,
  scenario,
  signIn,
} from './driver.mjs';

await scenario(async (browser) => {
  const ann = await person(browser);
  const { page, context } = ann;

  // Signed out: every private page leads to the sign-in page.
  await page.goto('/account');
  await page.waitForURL('**/login?next=%2Faccount');
  await page.waitForFunction(() => document.activeElement.id === 'email');
  await inspect(page, 'login');
  await page.goto('/login?error=link_invalid');
  await page.getByRole('alert').getByText('no longer works').waitFor();
  await inspect(page, 'login-error');
  await page.goto('/login?error=%3Cscript%3E');
  await page.getByRole('alert').getByText('did not work').waitFor();

  // The code, after a wrong one, pasted with a space.
  const first = await askForLink(page, 'ann@example.com');
  await page.getByText('ann@example.com').waitFor();
  assert.match(
    await page.getByRole('button', { name: 'Send it again' }).textContent(),
    /again in \d+ s/,
  );
  assert.ok(await page.getByRole('button', { name: 'Send it again' }).isDisabled());
  await inspect(page, 'code');
  const field = page.getByLabel('Six-digit code');
  assert.equal(await field.getAttribute('autocomplete'), 'one-time-code');
  const wrong = first.code === '000000' ? '000001' : '000000';
  await field.fill(wrong);
  await page.getByRole('alert').getByText('not right').waitFor();
  await inspect(page, 'code-wrong');
  const spaced = `${first.code.slice(0, 3)} ${first.code.slice(3)}`;
  await page.evaluate((text) => {
    const data = new DataTransfer();
    data.setData('text/plain', text);
    const field = document.getElementById('code');
    field.focus();
    document.execCommand('insertText', false, text);
  }, spaced);
  await page.waitForURL(`${base}/account`);

  // The cookies as the browser stores them.
  const cookies = Object.fromEntries(
    (await context.cookies()).map((cookie) => [cookie.name, cookie]),
  );
  assert.equal(cookies.session.httpOnly, true);
  assert.equal(cookies.session.sameSite, 'Lax');
  assert.equal(cookies.session.path, '/');
  assert.equal(await page.evaluate(() => document.cookie), '');
  assert.equal(cookies.asked, undefined);
  assert.equal(cookies.next, undefined);

  // Sign out. The back button shows nothing of the account.
  await page.goto('/account');
  await page.getByRole('button', { name: 'Sign out', exact: true }).click();
  await page.getByText('You are signed out.').waitFor();
  await page.goBack();
  await page.waitForURL('**/login?next=%2Faccount');
  assert.equal(await page.getByText('Where you are signed in').count(), 0);
  await page.goto('/login');
  await page.getByText('Last used').waitFor();

  // The link is opened on another device: that device is signed in. The waiting page says so and
  // signs nobody in.
  const mail = await askForLink(page, 'ann@example.com');
  const phone = await person(browser, { viewport: { width: 375, height: 720 } });
  await phone.page.goto(mail.link);
  assert.ok(!phone.page.url().includes('token='), 'the token leaves the address bar');
  await inspect(phone.page, 'confirm');
  await phone.page.getByRole('button', { name: 'Sign in on this device' }).click();
  await phone.page.waitForURL(`${base}/`);
  await page.getByRole('heading', { name: 'Confirmed on another device' }).waitFor();
  await inspect(page, 'code-elsewhere');
  assert.equal(
    (await context.cookies()).find(({ name }) => name === 'session'),
    undefined,
  );
  await phone.page.goto(mail.link);
  await phone.page.getByText('You are signed in. That link').waitFor();
  const stranger = await person(browser);
  await stranger.page.goto(mail.link);
  await stranger.page.getByText('no longer works').waitFor();
  await inspect(stranger.page, 'confirm-used');

  // In two tabs of one browser, the waiting tab continues by itself.
  const bob = await person(browser);
  const { link } = await askForLink(bob.page, 'bob@example.com');
  const tab = await bob.context.newPage();
  await tab.goto(link);
  await tab.getByRole('button', { name: 'Sign in on this device' }).click();
  for (const one of [bob.page, tab]) await one.waitForURL(`${base}/`);

  // The sign-in is too old for the export: the page waits for the confirmation, with a second
  // request, and then leads back.
  for (const byCode of [true, false]) {
    await fetch(`${process.env.TRACERA_BACKSTAGE}/later`, { method: 'POST' });
    const proof = await askToConfirm(bob.page, 'bob@example.com', '/account/data.json');
    for (const _ of [1, 2]) {
      const [answer] = await Promise.all([
        bob.page.waitForResponse('**/login/status'),
        bob.page.evaluate(() => document.dispatchEvent(new Event('visibilitychange'))),
      ]);
      assert.equal((await answer.json()).status, 'waiting');
    }
    if (byCode) {
      // The confirmation gives the session a new id, and the other tab is led to its page again.
      const ledOn = tab.waitForEvent('framenavigated');
      await bob.page.getByLabel('Six-digit code').fill(proof.code);
      await ledOn;
      await tab.waitForURL(`${base}/`);
    } else {
      await tab.goto(proof.link);
      await tab.getByRole('button', { name: 'Sign in on this device' }).click();
      await tab.waitForURL(`${base}/account`);
    }
    await bob.page.waitForURL(`${base}/account`);
  }

  // An invalid link, an unknown page, the mailbox.
  await page.goto('/nothing');
  await page.getByRole('heading', { name: 'There is nothing here' }).waitFor();
  await inspect(page, 'not-found');
  await page.goto(mailbox);
  await inspect(page, 'mailbox');

  // A page that is open for longer than its form's token is valid, as in a forgotten tab.
  const late = await person(browser);
  await late.page.clock.install();
  await late.page.goto('/login');
  await late.page.clock.fastForward('11:00');
  await late.context.clearCookies();
  await late.page.getByLabel('E-mail address').fill('late@example.com');
  await late.page.getByRole('button', { name: 'Send me a sign-in link' }).click();
  await late.page.waitForURL('**/login/code');

  // Signed in in another tab meanwhile: both the unchanged form and the form with the script
  // continue to the page.
  const tabs = await person(browser);
  const second = await tabs.context.newPage();
  await second.clock.install();
  for (const tab of [tabs.page, second]) await tab.goto('/login?next=/account');
  await signIn(await tabs.context.newPage(), 'tina@example.com');
  await second.clock.fastForward('11:00');
  for (const tab of [tabs.page, second]) {
    await tab.getByLabel('E-mail address').fill('other@example.com');
    await tab.getByRole('button', { name: 'Send me a sign-in link' }).click();
    await tab.waitForURL(`${base}/account`);
  }

  assertNoViolations(ann, phone, bob, late, tabs);
});

// The same without scripts.
await scenario(async (browser) => {
  const carl = await person(browser, { javaScriptEnabled: false });
  const { page } = carl;
  const { code } = await askForLink(page, 'carl@example.com');
  await page.getByLabel('Six-digit code').fill(code);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  await page.waitForURL(`${base}/`);
  await page.goto('/account');
  await page.getByText('This device').waitFor();
  await page.getByRole('button', { name: 'Sign out', exact: true }).click();
  await page.getByText('You are signed out.').waitFor();
  await signIn(page, 'carl@example.com');
  await page.goto('/account');
  await page.getByText('This device').waitFor();
  assertNoViolations(carl);
});
