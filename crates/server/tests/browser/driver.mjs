// Shared by the browser scripts: Chromium without a network, pages that record every violation,
// accessibility checks, screenshots.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(join(process.env.TRACERA_PACKAGES, 'x.js'));
export const { chromium } = require('playwright-core');
const axeSource = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

export const base = process.env.TRACERA_URL.replace(/\/$/, '');
// The mailbox, with its key. Only servers in development mode have one.
export const mailbox = process.env.TRACERA_MAILBOX;
const artifacts = process.env.TRACERA_ARTIFACTS;
export const DESKTOP = { width: 1200, height: 820 };
export const PHONE = { width: 375, height: 720 };

// Keep Chromium to itself.
export const FLAGS = [
  '--no-sandbox',
  '--disable-quic',
  '--disable-background-networking',
  '--no-first-run',
  '--disable-component-update',
  '--disable-sync',
];

// Answers a request with the response of the server at `upstream`, whose headers `change` may
// replace.
export function forward(upstream, request, response, change = (answer) => answer.headers) {
  const { method, url: path, headers } = request;
  const onward = httpRequest(upstream, { method, path, headers }, (answer) => {
    response.writeHead(answer.statusCode, change(answer));
    answer.pipe(response);
  });
  onward.on('error', () => response.destroy());
  response.on('close', () => onward.destroy());
  request.pipe(onward);
}

// Runs the script's steps in one browser; any failure ends the process with its reason.
export async function scenario(steps) {
  const browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: [
      ...FLAGS,
      '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1',
    ],
  });
  try {
    await steps(browser);
  } finally {
    await browser.close();
  }
}

// A new browser context, which may also send requests to these origins. Its list of violations must
// stay empty.
export async function person(browser, options = {}, origins = []) {
  const context = await browser.newContext({
    baseURL: base,
    viewport: DESKTOP,
    reducedMotion: 'reduce',
    ...options,
  });
  context.setDefaultTimeout(30_000);
  const violations = [];
  await context.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => {
      console.error(`Content Security Policy: ${violatedDirective} ${blockedURI}`);
    });
  });
  const page = await context.newPage();
  watch(page, violations, [base, 'data:', ...origins]);
  return { context, page, violations };
}

function watch(page, violations, origins) {
  page.on('console', (message) => {
    if (/Content.Security.Policy|Refused to|violates/i.test(message.text()))
      violations.push(message.text());
  });
  page.on('pageerror', (error) => violations.push(`script error: ${error.message}`));
  page.on('request', (request) => {
    if (!origins.some((origin) => request.url().startsWith(origin)))
      violations.push(`foreign: ${request.url()}`);
  });
}

export function assertNoViolations(...people) {
  for (const { violations } of people) assert.deepEqual(violations, []);
}

const NARROW_WIDTHS = [360, 768, 800];

// Checks accessibility by axe-core in light and dark, then takes screenshots in light, dark and
// phone width. On small screens nothing may overflow its card.
export async function inspect(page, name) {
  for (const scheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme: scheme });
    assert.deepEqual(await findings(page), [], `accessibility of ${name} in ${scheme}`);
    await shot(page, `${name}-${scheme}`);
  }
  const size = page.viewportSize();
  await page.setViewportSize(PHONE);
  await page.emulateMedia({ colorScheme: 'light' });
  assert.deepEqual(await findings(page), [], `accessibility of ${name} on a phone`);
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(overflow <= 0, `${name} is ${overflow} px wider than a phone`);
  await shot(page, `${name}-phone`);
  for (const width of NARROW_WIDTHS) {
    await page.setViewportSize({ ...PHONE, width });
    assert.deepEqual(await page.evaluate(stickingOut), [], `${name} at ${width} px`);
  }
  await page.setViewportSize(size);
}

// Elements that overflow their card. Runs in the page.
function stickingOut() {
  const found = [];
  for (const card of document.querySelectorAll('.card')) {
    const { left, right } = card.getBoundingClientRect();
    for (const element of card.querySelectorAll(':not(svg *, .sr)')) {
      const box = element.getBoundingClientRect();
      if (box.width && (box.left < left - 1 || box.right > right + 1))
        found.push(element.outerHTML.slice(0, 120));
    }
  }
  return found;
}

// axe runs through the debugger, which the page's Content-Security-Policy does not restrict.
async function findings(page) {
  await page.evaluate(axeSource);
  const { violations } = await page.evaluate(() =>
    globalThis.axe.run(document, { resultTypes: ['violations'] }),
  );
  return violations.map(
    ({ id, nodes }) =>
      `${id}: ${nodes.map((node) => `${node.html} ${node.failureSummary}`).join(' | ')}`,
  );
}

export async function shot(page, name) {
  mkdirSync(artifacts, { recursive: true });
  await page.evaluate(() => scrollTo(0, 0));
  await page.screenshot({ path: join(artifacts, `${name}.png`), fullPage: true });
}

// Requests a link on the sign-in page, or on the page that this address leads to. Returns the
// contents of the mail.
export async function askForLink(page, email, at = '/login') {
  return newMail(page, email, async () => {
    await page.goto(at);
    await page.getByLabel('E-mail address').fill(email);
    await page.getByRole('button', { name: 'Send me a sign-in link' }).click();
  });
}

// The same for a signed-in user who has to confirm who they are: at the address `at`, or on the
// open page.
export async function askToConfirm(page, email, at) {
  return newMail(page, email, async () => {
    if (at) await page.goto(at);
    await page.getByRole('button', { name: 'Mail me a link and a code' }).click();
  });
}

async function newMail(page, email, ask) {
  const before = (await mails(page.context(), email)).length;
  await ask();
  await page.waitForURL('**/login/code');
  for (let tries = 0; tries < 200; tries += 1) {
    const now = await mails(page.context(), email);
    if (now.length > before) return now[0];
  }
  throw new Error(`no mail to ${email}`);
}

// The sign-in mails to an address, newest first.
async function mails(context, email) {
  const box = await context.newPage();
  try {
    await box.goto(mailbox);
    const found = await box
      .locator('article', { hasText: email })
      .filter({ has: box.locator('[data-code]') })
      .all();
    return await Promise.all(
      found.map(async (mail) => ({
        link: await mail.getByRole('link', { name: 'Open the link' }).getAttribute('href'),
        code: await mail.locator('[data-code]').getAttribute('data-code'),
      })),
    );
  } finally {
    await box.close();
  }
}

// Signs in by mail. Ends on the page requested before, with its scripts running.
export async function signIn(page, email) {
  const { link } = await askForLink(page, email);
  await page.goto(link);
  await page.getByRole('button', { name: 'Sign in on this device' }).click();
  await page.getByRole('button', { name: 'Sign out', exact: true }).waitFor();
  await page.waitForLoadState();
}
