// A new trader's way in Firefox, by WebDriver BiDi: signing in by mail, linking Steam, importing,
// signing out.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(join(process.env.TRACERA_PACKAGES, 'x.js'));
const { default: puppeteer } = require('puppeteer-core');

const base = process.env.TRACERA_URL.replace(/\/$/, '');
const mailbox = process.env.TRACERA_MAILBOX;
const FIONA = 'fiona@example.com';
const LIMIT_MS = 60_000;

const browser = await puppeteer.launch({
  browser: 'firefox',
  executablePath: '/usr/bin/firefox-esr',
  headless: true,
  timeout: LIMIT_MS,
});
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(LIMIT_MS);
  const problems = [];
  page.on('pageerror', (error) => problems.push(`script error: ${error.message}`));
  page.on('console', (message) => {
    if (/Content.Security.Policy/i.test(message.text())) problems.push(message.text());
  });
  // A locator waits until what it names is there, on whichever page comes.
  const press = (selector) => page.locator(selector).click();
  const see = (text) => page.locator(`::-p-text(${text})`).wait();

  async function mailedLink() {
    const box = await browser.newPage();
    for (;;) {
      await box.goto(base + mailbox);
      const link = await box.evaluate(() => document.querySelector('article a.primary')?.href);
      if (!link) continue;
      await box.close();
      return link;
    }
  }

  await page.goto(base);
  await page.locator('#email').fill(FIONA);
  await press('form[action="/login"] button.primary');
  await see('Six-digit code');
  await page.goto(await mailedLink());
  await press('form[action="/login/confirm"] button');
  await see('Two clicks to what your skins are worth');
  const session = (await browser.cookies()).find(({ name }) => name === 'session');
  assert.deepEqual([session.httpOnly, session.sameSite, session.path], [true, 'Lax', '/']);
  assert.equal(await page.evaluate(() => document.cookie), '');

  await press('form[action="/account/providers/link"] button');
  await page.locator('input[name="__steamid"]').fill(process.env.TRACERA_STEAM_ID);
  await press('form button');
  await press('form[action="/import"] button');
  await see('What your inventory is worth');
  assert.equal(await page.$eval('.total', (figure) => figure.textContent), '$4,267.96');
  await page.setViewport({ width: 500, height: 800 });
  const beyond = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(beyond <= 0, `the portfolio is ${beyond} px wider than the window`);

  await press('form[action="/logout"] button');
  await see('You are signed out.');
  await page.goto(`${base}/account`);
  await see('Send me a sign-in link');
  assert.ok(!(await browser.cookies()).some(({ name }) => name === 'session'));
  assert.deepEqual(problems, []);
} finally {
  await browser.close();
}
