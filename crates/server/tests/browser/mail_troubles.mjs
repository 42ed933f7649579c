// The page that waits for a mail: its announcement, and its messages when no mail can be sent.
import assert from 'node:assert/strict';
import { assertNoViolations, inspect, person, scenario } from './driver.mjs';

const say = (status) => fetch(`${process.env.TRACERA_BACKSTAGE}/say/${status}`, { method: 'POST' });

async function ask(page, email) {
  await page.goto('/login');
  await page.getByLabel('E-mail address').fill(email);
  await page.getByRole('button', { name: 'Send me a sign-in link' }).click();
  await page.waitForURL('**/login/code');
}

await scenario(async (browser) => {
  const ann = await person(browser);
  const { page } = ann;
  const promise = page.getByText('A sign-in link is on its way');
  const delayed = page.getByText('Our mail server has not taken the mail yet');
  const givenUp = page.getByText('Our mail server did not take the mail');

  // The mail server is unavailable, then available: the page updates by itself.
  await say(503);
  await ask(page, 'ann@example.com');
  await delayed.waitFor();
  await promise.waitFor({ state: 'hidden' });
  await inspect(page, 'code-mail-delayed');
  await say(200);
  await promise.waitFor();
  await delayed.waitFor({ state: 'hidden' });

  // The mail server rejects the mail permanently.
  await say(422);
  await ask(page, 'ann@example.com');
  await givenUp.waitFor();
  await promise.waitFor({ state: 'hidden' });
  await inspect(page, 'code-mail-given-up');

  // More mails requested than allowed: the page names the limit, and the time of the next mail.
  await say(200);
  const bob = await person(browser);
  for (let times = 0; times < 6; times += 1) {
    await ask(bob.page, 'bob@example.com');
    assert.equal(await bob.page.getByText('You asked').count(), 0);
  }
  await ask(bob.page, 'bob@example.com');
  await bob.page
    .getByText(/You asked\s+6 times\s+for\s+bob@example.com, and the\s+newest mail still/)
    .waitFor();
  await bob.page.getByText(/The next mail can be sent in\s+\d+ minutes?/).waitFor();
  assert.equal(await bob.page.getByText('on its way').count(), 0);
  await inspect(bob.page, 'code-no-more-mails');

  assertNoViolations(ann, bob);
});
