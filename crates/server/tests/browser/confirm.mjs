// A user who comes back after a while confirms who they are, and loses nothing that they were
// doing.
import assert from 'node:assert/strict';
import {
  askToConfirm,
  assertNoViolations,
  base,
  inspect,
  person,
  scenario,
  signIn,
} from './driver.mjs';

const later = () => fetch(`${process.env.TRACERA_BACKSTAGE}/later`, { method: 'POST' });

// The flow to a provider is followed only to the page that leads there.
const LEAVING = '**/account/providers/link';
async function stay(page) {
  await page.route(LEAVING, async (route) => {
    const response = await route.fetch({ maxRedirects: 0 });
    if (response.status() !== 200) return route.fulfill({ response });
    const html = (await response.text()).replace(/<meta http-equiv="refresh"[^>]*>/, '');
    return route.fulfill({ response, body: html });
  });
}

for (const javaScriptEnabled of [true, false]) {
  await scenario(async (browser) => {
    const name = javaScriptEnabled ? 'ann' : 'bob';
    const email = `${name}@example.com`;
    const trader = await person(browser, { javaScriptEnabled });
    const { page } = trader;
    await signIn(page, email);
    await stay(page);
    await later();

    // The first button of the portfolio.
    await page.goto('/');
    await page.getByRole('button', { name: 'Link Steam' }).click();
    await page.getByRole('heading', { name: 'Confirm that it is you' }).waitFor();
    await page.getByText('Link Steam').waitFor();
    await page.getByRole('link', { name: 'Account', exact: true }).waitFor();
    assert.equal(await page.getByText('New here?').count(), 0);
    assert.equal(await page.getByRole('textbox').count(), 0, 'who it is is not asked');
    assert.equal(await page.getByRole('link', { name: /Continue with/ }).count(), 0);
    if (javaScriptEnabled) await inspect(page, 'confirm-person');
    const { code } = await askToConfirm(page, email);
    if (javaScriptEnabled) await inspect(page, 'confirm-code');
    await page.getByLabel('Six-digit code').fill(code);
    if (!javaScriptEnabled) await page.getByRole('button', { name: 'Confirm' }).click();
    await page.waitForURL(`${base}/`);
    const offer = page.locator('#kept-form');
    await offer.getByText('You were about to do this').waitFor();
    if (javaScriptEnabled) await inspect(page, 'confirm-offer');
    await offer.getByRole('button', { name: 'Link Steam' }).click();
    await page.getByRole('heading', { name: 'On to Steam…' }).waitFor();
    await page.goto('/');
    assert.equal(await offer.count(), 0, 'what is done is not offered any more');

    // A new address is entered on the account page and confirmed by the link in another tab.
    await later();
    await page.goto('/account');
    await page.locator('#methods').getByText('Change', { exact: true }).click();
    await page.getByLabel('New e-mail address').fill(`new-${email}`);
    await page.getByRole('button', { name: 'Send a link there' }).click();
    const { link } = await askToConfirm(page, email);
    const tab = javaScriptEnabled ? await trader.context.newPage() : page;
    await tab.goto(link);
    await tab.getByRole('button', { name: 'Sign in on this device' }).click();
    await tab.waitForURL(`${base}/account`);
    if (tab !== page) await page.waitForURL(`${base}/account`);
    await tab.getByRole('button', { name: `Send a link to new-${email}` }).click();
    await tab.getByText(`A mail with a link is on its way to new-${email}`).waitFor();

    // The message about the last step is not repeated after a reload.
    if (javaScriptEnabled) {
      assert.equal(tab.url(), `${base}/account`);
      await tab.reload();
      await tab.getByRole('heading', { name: 'Account security' }).waitFor();
      assert.equal(await tab.getByText('A mail with a link is on its way').count(), 0);
      await tab.goto('/account?error=last_way_in#delete');
      await tab.getByText('That is the only way').waitFor();
      assert.equal(tab.url(), `${base}/account#delete`);
    }

    // The export: after the confirmation the download begins on the page that offers it.
    await later();
    await page.goto('/account');
    await page.getByRole('link', { name: 'Download my data' }).click();
    const proof = await askToConfirm(page, email);
    const download = page.waitForEvent('download');
    await page.getByLabel('Six-digit code').fill(proof.code);
    if (!javaScriptEnabled) await page.getByRole('button', { name: 'Confirm' }).click();
    assert.equal((await download).suggestedFilename(), 'tracera-data.json');
    await page.getByText('Your download begins').waitFor();
    assertNoViolations(trader);
  });
}
