// A certified OpenID provider (npm oidc-provider) without a person: logs in, consents, redirects.
//
//   op.mjs JWKS_FILE [CLAIMS_JSON]
//
// Signs with the first key of JWKS_FILE (private JWKs); on SIGHUP reads the file again, prints
// `rotated` and keeps its port. CLAIMS_JSON are more claims for the scope `ci`; `email` and
// `email_verified` come with the scope `email`.
import fs from 'node:fs';
import { Provider } from 'oidc-provider';
import { serve } from './ready.mjs';

const [, , jwksFile, claimsText = '{}'] = process.argv;
const claims = JSON.parse(claimsText);
const LOGIN = 'jane@example.com';
const LIFETIME_SECONDS = 600;

function provider(issuer) {
  const jwks = JSON.parse(fs.readFileSync(jwksFile, 'utf8'));
  return new Provider(issuer, {
    jwks,
    cookies: { keys: ['test'] },
    features: {
      devInteractions: { enabled: false },
      deviceFlow: { enabled: true },
    },
    pkce: { required: () => true },
    // Signing clients read `email` out of the ID token, not from the userinfo endpoint.
    conformIdTokenClaims: false,
    enabledJWA: { idTokenSigningAlgValues: ['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA'] },
    scopes: ['openid', 'email', 'ci'],
    claims: {
      openid: ['sub'],
      email: ['email', 'email_verified'],
      ci: Object.keys(claims),
    },
    clients: [{
      client_id: 'sigstore',
      application_type: 'native',
      token_endpoint_auth_method: 'none',
      grant_types: ['authorization_code', 'urn:ietf:params:oauth:grant-type:device_code'],
      response_types: ['code'],
      // Of native applications any port is taken (RFC 8252, section 7.3).
      redirect_uris: ['http://localhost:9999/cb', 'http://localhost/auth/callback'],
      id_token_signed_response_alg: jwks.keys[0].alg,
    }, {
      client_id: 'desk',
      client_secret: 'desk: 100% secret',
      application_type: 'native',
      token_endpoint_auth_method: 'client_secret_basic',
      grant_types: ['authorization_code'],
      response_types: ['code'],
      redirect_uris: ['http://localhost/auth/callback'],
      id_token_signed_response_alg: jwks.keys[0].alg,
    }],
    ttl: Object.fromEntries(
      ['AccessToken', 'AuthorizationCode', 'DeviceCode', 'Grant', 'IdToken', 'Interaction', 'Session']
        .map((kind) => [kind, LIFETIME_SECONDS]),
    ),
    findAccount: (_context, id) => ({
      accountId: id,
      claims: () => ({ sub: id, email: LOGIN, email_verified: true, ...claims }),
    }),
    interactions: { url: (_context, interaction) => `/interaction/${interaction.uid}` },
  });
}

/** What the person would do: log in as LOGIN, then agree to every scope asked for. */
async function interact(op, request, response) {
  const { prompt, session, params } = await op.interactionDetails(request, response);
  if (prompt.name === 'login') {
    return op.interactionFinished(request, response, { login: { accountId: LOGIN } });
  }
  const grant = new op.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  const consent = { grantId: await grant.save() };
  const merge = { mergeWithLastSubmission: true };
  return op.interactionFinished(request, response, { consent }, merge);
}

await serve((issuer) => {
  let op = provider(issuer);
  process.on('SIGHUP', () => {
    op = provider(issuer);
    console.log('rotated');
  });
  return (request, response) => (request.url.startsWith('/interaction/')
    ? interact(op, request, response)
    : op.callback()(request, response));
});
