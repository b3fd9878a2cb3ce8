// An OpenID provider for tokens of any shape (npm oauth2-mock-server): those of CI systems.
//
//   ci_oidc.mjs
//
// Besides discovery and keys it answers POST /mint with a token: the request's JSON object is laid
// over iss, iat, nbf and exp (600 s); a claim that is null is left out.
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
    } else {
      service.requestHandler(request, response);
    }
  };
});
