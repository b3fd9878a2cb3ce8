// Fetches an ID token as a signing client does, by authorization code and PKCE, and prints it.
//
//   token.mjs ISSUER [SCOPE] [LOGIN]
//
// Follows redirects by hand until the one to the client's own address, keeping cookies; where the
// provider answers with a login form instead, sends LOGIN as `sub` (PyPI oidc-provider-mock).
import crypto from 'node:crypto';

import { step } from './step.mjs';

const [, , issuer, scope = 'openid email', login = 'jane@example.com'] = process.argv;
const REDIRECT_URI = 'http://localhost:9999/cb';
const MOST_STEPS = 10;

/** Walks from the authorization endpoint to the code. */
async function codeFrom(authorization) {
  let url = authorization;
  let form;
  for (let n = 0; n < MOST_STEPS; n += 1) {
    const response = await step(url, form);
    const location = response.headers.get('location');
    if (location === null) {
      if (form || response.status !== 200) {
        throw new Error(`${url}: ${response.status} ${await response.text()}`);
      }
      form = { sub: login };
      continue;
    }
    form = undefined;
    url = new URL(location, url).href;
    if (url.startsWith(REDIRECT_URI)) {
      const answer = new URL(url).searchParams;
      if (answer.has('code')) return answer.get('code');
      throw new Error(`no code in ${url}`);
    }
  }
  throw new Error(`no code after ${MOST_STEPS} redirects`);
}

const discovery = await (await fetch(`${issuer}/.well-known/openid-configuration`)).json();
const verifier = crypto.randomBytes(32).toString('base64url');
const challenge = crypto.createHash('sha256').update(verifier).digest('base64url');
const query = new URLSearchParams({
  client_id: 'sigstore',
  response_type: 'code',
  redirect_uri: REDIRECT_URI,
  scope,
  state: crypto.randomUUID(),
  nonce: crypto.randomUUID(),
  code_challenge: challenge,
  code_challenge_method: 'S256',
});
const code = await codeFrom(`${discovery.authorization_endpoint}?${query}`);
// A provider that does not take public clients (Discovery 1.0, section 3: the default) wants a
// secret; the one met here takes any.
const methods = discovery.token_endpoint_auth_methods_supported ?? [];
const secret = methods.includes('none') ? {} : { client_secret: 'any' };
const response = await fetch(discovery.token_endpoint, {
  method: 'POST',
  body: new URLSearchParams({
    grant_type: 'authorization_code',
    client_id: 'sigstore',
    code,
    redirect_uri: REDIRECT_URI,
    code_verifier: verifier,
    ...secret,
  }),
});
const answer = await response.json();
if (!answer.id_token) throw new Error(`no ID token: ${JSON.stringify(answer)}`);
console.log(answer.id_token);
