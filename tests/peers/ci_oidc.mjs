// An OpenID provider for tokens of any shape (npm oauth2-mock-server): those of CI systems.
//
//   ci_oidc.mjs
//
// Besides discovery and keys it answers POST /mint with a token: the request's JSON object is laid
// over iss, iat, nbf and exp (600 s); a claim that is null is left out. GET /github answers as
// GitHub's own endpoint does where a job asks for its token, which cannot be had outside GitHub:
// the bearer `may-ask` may, and the query says the audience.
import { OAuth2Server } from 'oauth2-mock-server';
import { bodyOf, serve } from './ready.mjs';

const LIFETIME_SECONDS = 600;

await serve(async (url) => {
  const { issuer, service } = new OAuth2Server();
  issuer.url = url;
  await issuer.keys.generate('RS256'); // the only algorithm its discovery document names

  async function mint(claims) {
    const shape = (_header, payload) => {
      for (const name of Object.keys(payload)) delete payload[name];
      const now = Math.floor(Date.now() / 1000);
      const usual = { iss: url, iat: now, nbf: now, exp: now + LIFETIME_SECONDS };
      for (const [name, value] of Object.entries({ ...usual, ...claims })) {
        if (value !== null) payload[name] = value;
      }
    };
    return issuer.buildToken({ scopesOrTransform: shape });
  }

  return async (request, response) => {
    if (request.method === 'POST' && request.url === '/mint') {
      response.end(await mint(JSON.parse(await bodyOf(request))));
    } else if (request.url.startsWith('/github?')) {
      const audience = new URL(request.url, url).searchParams.get('audience');
      const allowed = request.headers.authorization === 'bearer may-ask';
      response.writeHead(allowed ? 200 : 401, { 'content-type': 'application/json' });
      const claims = { sub: 'jane', aud: audience, email: 'jane@example.com', email_verified: true };
      response.end(JSON.stringify(allowed ? { count: 1, value: await mint(claims) } : {}));
    } else {
      service.requestHandler(request, response);
    }
  };
});
