// What people do twice: a double click on "Sign in", a page that is loaded again before it was
// answered, sign-ins that begin in two tabs.
import assert from 'node:assert/strict';
import { askForLink, assertNoViolations, base, person, scenario } from './driver.mjs';

const openid = new URL(process.env.TRACERA_OPENID).origin;
const SENT = ['content-type', 'origin', 'user-agent'];

// Sends what this request would, so that the server has it, and loses the answer.
async function sendAndForget(context, request, url = request.url()) {
  const cookies = await context.cookies(url);
  const headers = Object.entries(request.headers()).filter(([name]) => SENT.includes(name));
  const cookie = cookies.map(({ name, value }) => `${name}=${value}`).join('; ');
  const answer = await fetch(url, {
    method: request.method(),
    headers: { ...Object.fromEntries(headers), cookie },
    body: request.postData() ?? undefined,
    redirect: 'manual',
  });
  assert.equal(answer.status, 303, await answer.text());
  assert.doesNotMatch(answer.headers.get('location'), /error/);
}

// The browser never gets the answer to the first form that is sent there. Then it asks again, or
// else the person does.
async function loseFirstAnswer(page, path, asksAgain) {
  let sent = 0;
  await page.route(`${base}${path}`, async (route) => {
    const request = route.request();
    if (request.method() !== 'POST') return route.fallback();
    sent += 1;
    if (sent > 1) return route.continue();
    await sendAndForget(page.context(), request);
    if (asksAgain) return route.continue();
  });
  return () => sent;
}

async function isSignedInOnce(page) {
  await page.getByRole('button', { name: 'Sign out', exact: true }).waitFor();
  await page.goto('/account');
  await page.getByText('This device').waitFor();
  assert.equal(await page.locator('#sessions li').count(), 1);
}

// Each person has a Steam account of their own.
let people = 10;
const newSteamId = () => `765611980000000${(people += 1)}`;

async function atSteam(page, steamId) {
  await page.goto('/login');
  await page.getByRole('link', { name: 'Continue with Steam' }).click();
  await page.getByLabel('SteamID').fill(steamId);
}

for (const javaScriptEnabled of [true, false]) {
  await scenario(async (browser) => {
    const email = `ann-${javaScriptEnabled}@example.com`;
    const trader = async () => person(browser, { javaScriptEnabled }, [openid]);

    // The button of the mailed link's page, clicked twice.
    const ann = await trader();
    const { link } = await askForLink(ann.page, email);
    const clicks = await loseFirstAnswer(ann.page, '/login/confirm', false);
    await ann.page.goto(link);
    await ann.page.getByRole('button', { name: 'Sign in on this device' }).dblclick({ delay: 120 });
    await isSignedInOnce(ann.page);
    assert.equal(clicks(), 2);
    await ann.page.getByRole('button', { name: 'Sign out', exact: true }).click();
    await ann.page.getByText('You are signed out.').waitFor();

    // The six digits, sent twice: by a double click, or by the browser where a script sends them.
    const { code } = await askForLink(ann.page, email);
    const codes = await loseFirstAnswer(ann.page, '/login/code', javaScriptEnabled);
    await ann.page.getByLabel('Six-digit code').fill(code);
    if (!javaScriptEnabled) {
      const button = ann.page.getByRole('button', { name: 'Sign in', exact: true });
      await button.dblclick({ delay: 120 });
    }
    await isSignedInOnce(ann.page);
    assert.equal(codes(), javaScriptEnabled ? 1 : 2);

    // The way back from a provider, loaded twice.
    const gamer = await trader();
    await gamer.page.route(`${openid}/**__steamid=**`, async (route) => {
      const response = await route.fetch({ maxRedirects: 0 });
      await sendAndForget(gamer.context, route.request(), response.headers().location);
      return route.fulfill({ response });
    });
    await atSteam(gamer.page, newSteamId());
    await gamer.page.getByRole('button', { name: 'Sign in' }).click();
    await isSignedInOnce(gamer.page);

    // Two tabs begin, and each finishes, the first one last.
    const both = await trader();
    const second = await both.context.newPage();
    const steamId = newSteamId();
    await atSteam(both.page, steamId);
    await atSteam(second, steamId);
    for (const tab of [second, both.page]) {
      await tab.getByRole('button', { name: 'Sign in' }).click();
      await tab.waitForURL(`${base}/`);
    }
    await both.page.getByRole('button', { name: 'Sign out', exact: true }).waitFor();

    // Looked at meanwhile, the start of a sign-in begins nothing.
    if (javaScriptEnabled) {
      const hasty = await trader();
      await atSteam(hasty.page, newSteamId());
      const transaction = async () =>
        (await hasty.context.cookies(base)).find(({ name }) => name === 'transaction').value;
      const before = await transaction();
      const tab = await hasty.context.newPage();
      await tab.goto('/login');
      const looked = await tab.evaluate(() =>
        fetch('/api/v1/auth/steam/login', { method: 'HEAD' }).then(({ status }) => status),
      );
      assert.equal(looked, 204);
      assert.equal(await transaction(), before);
      await hasty.page.getByRole('button', { name: 'Sign in' }).click();
      await isSignedInOnce(hasty.page);
    }
    assertNoViolations(ann, gamer, both);
  });
}
