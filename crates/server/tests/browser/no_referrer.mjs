// Behind a proxy that adds `Referrer-Policy: no-referrer`: browsers then hide the origin of every
// form, and forms work all the same.
import assert from 'node:assert/strict';
import { createServer, request } from 'node:http';
import { assertNoViolations, base, person, scenario, signIn } from './driver.mjs';

const proxy = createServer((asked, answer) => {
  const { method, url: path, headers } = asked;
  const onward = request(process.env.TRACERA_UPSTREAM, { method, path, headers }, (answered) => {
    const added = { ...answered.headers, 'referrer-policy': 'no-referrer' };
    answer.writeHead(answered.statusCode, added);
    answered.pipe(answer);
  });
  onward.on('error', () => answer.destroy());
  answer.on('close', () => onward.destroy());
  asked.pipe(onward);
});
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
