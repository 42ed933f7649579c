// Behind a proxy that adds `Referrer-Policy: no-referrer`: browsers then hide the origin of every
// form, and forms work all the same.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { assertNoViolations, base, forward, person, scenario, signIn } from './driver.mjs';

const hiding = ({ headers }) => ({ ...headers, 'referrer-policy': 'no-referrer' });
const proxy = createServer((request, response) =>
  forward(process.env.TRACERA_UPSTREAM, request, response, hiding),
);
await new Promise((listening) => proxy.listen(new URL(base).port, '127.0.0.1', listening));

for (const javaScriptEnabled of [true, false]) {
  await scenario(async (browser) => {
    const ann = await person(browser, { javaScriptEnabled });
    const hidden = [];
    ann.page.on('request', async (request) => {
      if (request.method() === 'POST') hidden.push(request.allHeaders());
    });
    await signIn(ann.page, 'ann@example.com');
    await ann.page.getByRole('button', { name: 'Sign out', exact: true }).click();
    await ann.page.getByText('You are signed out.').waitFor();
    const origins = (await Promise.all(hidden)).map(({ origin }) => origin);
    // The page of a mailed link has a policy of its own.
    assert.deepEqual(origins, ['null', base, 'null']);
    assertNoViolations(ann);
  });
}
proxy.closeAllConnections();
proxy.close();
