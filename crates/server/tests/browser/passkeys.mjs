// Passkeys with Chromium's virtual authenticator: register, sign in by suggestion and by button,
// step up, remove, a second device, cancel, wrong origin.
import assert from 'node:assert/strict';
import { assertNoViolations, base, inspect, person, scenario, signIn } from './driver.mjs';

async function later() {
  await fetch(`${process.env.TRACERA_BACKSTAGE}/later`, { method: 'POST' });
}

// A device that verifies its user without interaction.
async function device(page, options = {}) {
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('WebAuthn.enable', { enableUI: false });
  const { authenticatorId } = await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2',
      transport: 'internal',
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
      ...options,
    },
  });
  const credentials = async () =>
    (await cdp.send('WebAuthn.getCredentials', { authenticatorId })).credentials;
  const verified = (isUserVerified) =>
    cdp.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified });
  const add = (credential) => cdp.send('WebAuthn.addCredential', { authenticatorId, credential });
  const remove = () => cdp.send('WebAuthn.removeVirtualAuthenticator', { authenticatorId });
  return { credentials, verified, add, remove };
}

const row = (page) =>
  page.locator('#passkeys li', { has: page.getByRole('button', { name: /^Remove the passkey/ }) });

await scenario(async (browser) => {
  const ann = await person(browser);
  const { page } = ann;
  await signIn(page, 'ann@example.com');
  const key = await device(page);

  // Register.
  await page.goto('/account');
  await page.getByRole('button', { name: 'Add a passkey' }).click();
  await page.getByText('The passkey is added').waitFor();
  assert.equal(await row(page).count(), 1);
  assert.equal((await key.credentials()).length, 1);
  await inspect(page, 'account-passkeys');

  // The same device already has a passkey.
  await page.getByRole('button', { name: 'Add a passkey' }).click();
  await page.getByText('has a passkey for this account already').waitFor();

  // Recovery codes are shown once. With them the account can be passkey-only.
  await page.getByRole('button', { name: 'Make ten codes' }).click();
  await page.getByRole('heading', { name: 'Your recovery codes' }).waitFor();
  const codes = await page.locator('.secrets code').allTextContents();
  assert.equal(codes.length, 10);
  await inspect(page, 'recovery-codes');
  await page.getByRole('link', { name: 'I have kept them' }).click();
  await page.getByText('10 left').waitFor();
  await page.getByRole('button', { name: 'Turn on passkey only' }).click();
  await page.getByText('Only your passkeys and recovery codes').waitFor();

  // Step up with one touch: the sign-in is too old for a change, and no other page is needed.
  await later();
  await page.goto('/account');
  await page.getByRole('button', { name: 'Turn off passkey only' }).click();
  await page.getByText('Every way in opens your account again').waitFor();

  // Sign in with the button.
  await page.getByRole('button', { name: 'Sign out', exact: true }).click();
  await page.getByText('You are signed out.').waitFor();
  await inspect(page, 'login-passkey');
  await page.getByRole('button', { name: 'Sign in with a passkey' }).click();
  await page.waitForURL(`${base}/`);

  // Sign in with the suggestion of the address field.
  await page.getByRole('button', { name: 'Sign out', exact: true }).click();
  await page.getByText('You are signed out.').waitFor();
  // The page's script listens once the button is visible.
  await page.getByRole('button', { name: 'Sign in with a passkey Last used' }).waitFor();
  await page.getByLabel('E-mail address').click();
  await page.waitForURL(`${base}/`);

  // Cancelled: no message appears, and the other methods remain.
  await page.getByRole('button', { name: 'Sign out', exact: true }).click();
  await page.getByText('You are signed out.').waitFor();
  await key.verified(false);
  await page.evaluate(() => {
    const get = navigator.credentials.get.bind(navigator.credentials);
    navigator.credentials.get = (options) => {
      const asked = get(options);
      asked.catch(({ name }) => { globalThis.calledOff = name; });
      return asked;
    };
  });
  await page.getByRole('button', { name: 'Sign in with a passkey' }).click();
  await page.waitForFunction(() => globalThis.calledOff === 'NotAllowedError');
  assert.equal(await page.getByRole('alert').count(), 0);
  assert.ok(await page.getByRole('button', { name: 'Send me a sign-in link' }).isEnabled());
  await key.verified(true);
  await page.getByRole('button', { name: 'Sign in with a passkey' }).click();
  await page.waitForURL(`${base}/`);

  // A second device, signed in with a recovery code, adds a second passkey.
  const phone = await person(browser);
  await phone.page.goto('/login/recovery');
  await inspect(phone.page, 'recovery');
  await phone.page.getByLabel('E-mail address').fill('ann@example.com');
  await phone.page.getByLabel('Recovery code').fill(codes[0].toUpperCase());
  await phone.page.getByRole('button', { name: 'Sign in', exact: true }).click();
  await phone.page.getByText('9 left').waitFor();
  await device(phone.page);
  await phone.page.getByRole('button', { name: 'Add a passkey' }).click();
  await phone.page.getByText('The passkey is added').waitFor();
  assert.equal(await row(phone.page).count(), 2);

  // Removed there: its session ends here, it signs in no more, and the browser is informed.
  const [kept] = await key.credentials();
  await row(phone.page).first().getByRole('button').click();
  await phone.page.getByText('The passkey is removed').waitFor();
  assert.equal(await row(phone.page).count(), 1);
  await page.waitForURL('**/login**');
  await page.getByText('You have been signed out on this device').waitFor();
  await page.getByRole('button', { name: 'Sign in with a passkey' }).click();
  await page.getByRole('alert').getByText('did not work here').waitFor();
  const left = await key.credentials();
  assert.ok(left.length === 0 || left[0].credentialId === kept.credentialId);

  // Under another host name of this server the browser offers no passkey of the site.
  const elsewhere = await browser.newPage();
  await elsewhere.goto(base.replace('localhost', '127.0.0.1') + '/login');
  const refused = await elsewhere.evaluate(async () => {
    const publicKey = {
      challenge: new Uint8Array(32),
      rpId: 'localhost',
      userVerification: 'required',
    };
    return navigator.credentials.get({ publicKey }).then(
      () => '',
      (error) => error.name,
    );
  });
  assert.equal(refused, 'SecurityError');
  await elsewhere.close();

  // A token is shown once.
  await phone.page.getByText('New token').click();
  await phone.page.getByLabel('Name', { exact: true }).fill('price bot');
  await inspect(phone.page, 'account-new-token');
  await phone.page.getByRole('button', { name: 'Make the token' }).click();
  const token = await phone.page.locator('.secrets code').textContent();
  assert.match(token, /^trc_[0-9A-Za-z]{49}$/);
  await phone.page.getByRole('link', { name: 'I have kept it' }).click();
  await phone.page.getByRole('heading', { name: 'price bot' }).waitFor();
  await phone.page.getByRole('button', { name: 'Revoke the token price bot' }).click();
  await phone.page.getByText('The token is revoked').waitFor();

  assertNoViolations(ann, phone);
});
