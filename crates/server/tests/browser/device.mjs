// Sessions bound to the device, in Chromium with keys in software. The script serves the site over
// TLS, because browsers bind nothing else, and looks at what the browser sends by itself.
import assert from 'node:assert/strict';
import { createHash, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  askForLink,
  base,
  chromium,
  DESKTOP,
  FLAGS,
  forward,
  inspect,
  signIn,
} from './driver.mjs';

const { TRACERA_BACKEND, TRACERA_BACKSTAGE, TRACERA_CERTIFICATE, TRACERA_KEY } = process.env;
const site = new URL(base);
const elsewhere = `https://elsewhere.test:${site.port}`;
const certificate = readFileSync(TRACERA_CERTIFICATE);
const LIMIT_MS = 20_000;

const backstage = async (path, body) => {
  const answer = await fetch(`${TRACERA_BACKSTAGE}${path}`, { method: 'POST', body });
  return answer.text();
};
// A registration counts from the first request ten seconds later.
const afterTheGrace = () => backstage('/later');

// What browsers sent to the two addresses of the protocol, with the status of the answer.
const proofs = [];

function serve(request, response) {
  if (request.headers.host === new URL(elsewhere).host) {
    const to = new URL(request.url, elsewhere).searchParams.get('to') ?? '';
    response.setHeader('content-type', 'text/html');
    response.end(`<a href="${to.replaceAll('&', '&amp;')}">Go there</a>`);
    return;
  }
  forward(TRACERA_BACKEND, request, response, ({ statusCode, headers }) => {
    if (request.url.startsWith('/device/')) proofs.push({ path: request.url, status: statusCode });
    return headers;
  });
}

const front = https.createServer({ cert: certificate, key: readFileSync(TRACERA_KEY) }, serve);
await new Promise((listening) => front.listen(site.port, '127.0.0.1', listening));

const key = new X509Certificate(certificate).publicKey.export({ type: 'spki', format: 'der' });
const trusted = createHash('sha256').update(key).digest('base64');

// A browser with a profile of its own: private windows bind nothing.
async function start(profile) {
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: '/usr/bin/chromium',
    baseURL: base,
    viewport: DESKTOP,
    reducedMotion: 'reduce',
    args: [
      ...FLAGS,
      '--host-resolver-rules=MAP *.localhost 127.0.0.1, MAP *.test 127.0.0.1, ' +
        'MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
      `--ignore-certificate-errors-spki-list=${trusted}`,
      '--enable-features=DeviceBoundSessions:ForceEnableForTesting/true,' +
        'EnableBoundSessionCredentialsSoftwareKeysForManualTesting',
    ],
  });
  context.setDefaultTimeout(30_000);
  return { context, page: context.pages()[0] };
}

async function withProfile(steps) {
  const profile = mkdtempSync(join(tmpdir(), 'tracera-device-'));
  const running = await start(profile);
  const restart = async () => {
    await running.context.close();
    Object.assign(running, await start(profile));
  };
  try {
    await steps(running, restart);
  } finally {
    await running.context.close();
    rmSync(profile, { recursive: true, force: true });
  }
}

async function eventually(what, holds) {
  const end = Date.now() + LIMIT_MS;
  while (!(await holds())) {
    assert.ok(Date.now() < end, `never happened: ${what}`);
    await new Promise((again) => setTimeout(again, 20));
  }
}

const cookies = async (context) =>
  Object.fromEntries((await context.cookies(base)).map(({ name, value }) => [name, value]));

const isBound = async (context) => '__Host-bound' in (await cookies(context));

// Waits for the registration that the browser does by itself, until it counts.
async function bound({ context, page }) {
  await eventually('the browser registers its device', () => isBound(context));
  assert.equal((await api(page, '/api/v1/auth/sessions')).status, 200);
  await afterTheGrace();
}

// As if its time were over: the next request in scope waits until the browser has a new one.
const expire = (context) => context.clearCookies({ name: '__Host-bound' });

const api = (page, path) =>
  page.evaluate(async (path) => {
    const answer = await fetch(path, { headers: { accept: 'application/json' } });
    return { status: answer.status, body: await answer.json().catch(() => null) };
  }, path);

// What a program gets that has copied these cookies.
async function copied(jar, ...names) {
  const cookie = names.map((name) => `${name}=${jar[name]}`).join('; ');
  const answer = await fetch(`${TRACERA_BACKEND}/api/v1/portfolio`, { headers: { cookie } });
  return { status: answer.status, code: (await answer.json()).code };
}

const refused = { status: 401, code: 'device_proof_required' };
const refreshes = (status) =>
  proofs.filter((proof) => proof.path === '/device/refresh' && proof.status === status).length;

const isSignedIn = (page) =>
  page.getByRole('button', { name: 'Sign out', exact: true }).waitFor();

// By link: a copy is refused, and the browser goes on by itself.
await withProfile(async (it, restart) => {
  await signIn(it.page, 'ann@example.com');
  await bound(it);
  const [{ device_bound }] = (await api(it.page, '/api/v1/auth/sessions')).body.sessions;
  assert.equal(device_bound, true);
  const jar = await cookies(it.context);
  assert.deepEqual(await copied(jar, '__Host-session'), refused);
  assert.equal((await copied(jar, '__Host-session', '__Host-bound')).status, 200);
  await it.page.goto('/account');
  await inspect(it.page, 'account-device-bound');

  // Six requests at once without it: one proof, and all are answered.
  await expire(it.context);
  const statuses = await it.page.evaluate(() =>
    Promise.all(
      Array.from({ length: 6 }, async () => (await fetch('/api/v1/auth/sessions')).status),
    ),
  );
  assert.deepEqual(statuses, Array(6).fill(200));
  assert.equal(refreshes(200), 1);

  // A link on another site: the browser sends it without a proof, and arrives all the same.
  await expire(it.context);
  const wanted = `${base}/?q=ak&sort=name`;
  await it.page.goto(`${elsewhere}/?to=${encodeURIComponent(wanted)}`);
  await it.page.getByText('Go there').click();
  await isSignedIn(it.page);
  assert.equal(it.page.url(), wanted);
  assert.equal(refreshes(200), 2);

  // After a restart of the browser its key is still there.
  await restart();
  await it.page.goto('/account');
  await isSignedIn(it.page);
  const other = await it.context.newPage();
  await other.goto('/account');
  await isSignedIn(other);

  // Signing out ends it for every copy.
  const last = await cookies(it.context);
  await other.getByRole('button', { name: 'Sign out', exact: true }).click();
  await other.getByText('You are signed out.').waitFor();
  assert.equal((await copied(last, '__Host-session', '__Host-bound')).code, 'unauthenticated');
  assert.equal(await isBound(it.context), false);
});

// By code; then a second sign-in in the same browser, which still refreshes the first.
await withProfile(async (it) => {
  const { code } = await askForLink(it.page, 'ben@example.com');
  await it.page.getByLabel('Six-digit code').fill(code);
  await isSignedIn(it.page);
  await bound(it);
  const first = (await cookies(it.context))['__Host-session'];
  await it.page.goto('/account');
  await it.page.getByRole('button', { name: 'Sign out', exact: true }).click();
  await it.page.getByText('You are signed out.').waitFor();
  await signIn(it.page, 'ben@example.com');
  await bound(it);
  assert.notEqual((await cookies(it.context))['__Host-session'], first);
  await expire(it.context);
  await it.page.goto('/account');
  await isSignedIn(it.page);

  // Ended elsewhere: the open page learns of it and leads to the sign-in.
  await backstage('/sign-out-everywhere', 'ben@example.com');
  await it.page.getByLabel('E-mail address').waitFor();
});

// By a program of the page, with an address of the API.
await withProfile(async (it) => {
  const { link } = await askForLink(it.page, 'cleo@example.com');
  await it.page.goto('/login');
  const status = await it.page.evaluate(async (token) => {
    const { csrf_token } = await (await fetch('/api/v1/auth/csrf')).json();
    const answer = await fetch('/api/v1/auth/magic/verify', {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-csrf-token': csrf_token },
      body: JSON.stringify({ token }),
    });
    return answer.status;
  }, new URL(link).searchParams.get('token'));
  assert.equal(status, 200);
  await bound(it);
  assert.deepEqual(await copied(await cookies(it.context), '__Host-session'), refused);

  // Redis is away: nobody is signed out, and the browser goes on when it is back.
  await expire(it.context);
  await backstage('/redis/away');
  const answer = await it.page.goto('/account');
  assert.equal(answer.status(), 503);
  assert.ok('__Host-session' in (await cookies(it.context)));
  await backstage('/redis/back');
  await eventually('the browser proves its device again', async () => {
    await it.page.goto('/account');
    return it.page.getByRole('button', { name: 'Sign out', exact: true }).isVisible();
  });
});

// By a provider, whose answer comes from another site.
await withProfile(async (it) => {
  await it.page.goto('/login');
  const [asked] = await Promise.all([
    it.page.waitForRequest('**/login/oauth/authorize?*'),
    it.page.getByRole('link', { name: 'GitHub' }).click(),
  ]);
  const callback = base + (await backstage('/agree', asked.url()));
  await it.page.goto(`${elsewhere}/?to=${encodeURIComponent(callback)}`);
  await it.page.getByText('Go there').click();
  await isSignedIn(it.page);
  await bound(it);
  assert.deepEqual(await copied(await cookies(it.context), '__Host-session'), refused);
});

front.closeAllConnections();
front.close();
