// An OpenID Connect provider that signs in every user without a page. The subject is the
// `login_hint`.
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const [port, redirectUri, kind] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: 'tracera',
      client_secret: 'a-secret-of-the-tests',
      redirect_uris: [redirectUri],
      token_endpoint_auth_method:
        kind === 'like-google' ? 'client_secret_post' : 'client_secret_basic',
    },
  ],
  claims: { openid: ['sub'], email: ['email', 'email_verified'] },
  conformIdTokenClaims: kind !== 'like-google',
  pkce: { required: () => true },
  features: { devInteractions: { enabled: false } },
  findAccount: (_, sub) => ({
    accountId: sub,
    claims: () => ({
      sub,
      email: `${sub}@example.test`,
      email_verified: sub.startsWith('silent') ? undefined : !sub.startsWith('unverified'),
    }),
  }),
  interactions: { url: (_, interaction) => `/agree/${interaction.uid}` },
});

async function agree(request, response) {
  const { params, prompt } = await provider.interactionDetails(request, response);
  const accountId = params.login_hint ?? 'somebody';
  if (prompt.name === 'login' || prompt.name === 'select_account') {
    return provider.interactionFinished(request, response, {
      login: { accountId },
      select_account: {},
    });
  }
  const grant = new provider.Grant({ accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  const grantId = await grant.save();
  return provider.interactionFinished(
    request,
    response,
    { consent: { grantId } },
    { mergeWithLastSubmission: true },
  );
}

const handle = provider.callback();
createServer((request, response) => {
  if (request.url.startsWith('/agree/')) {
    agree(request, response).catch((error) => {
      console.error(error);
      response.writeHead(500).end();
    });
  } else {
    handle(request, response);
  }
}).listen(Number(port), '127.0.0.1', () => console.log('listening'));
