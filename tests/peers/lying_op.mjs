// An OpenID provider of ours that is right in all but one thing. No certified provider can be made
// to do these.
//
//   lying_op.mjs LIE
//
// LIE is one of the names in LIES, or `nothing`. Those with a `device` have a device flow (RFC 8628),
// which says each of `answers` once before it is true.
import crypto from 'node:crypto';
import * as jose from 'jose';
import { bodyOf, serve } from './ready.mjs';

const LIES = {
  nothing: {},
  nonce: { claims: { nonce: 'replayed' } },
  'no-nonce': { claims: { nonce: undefined } },
  audience: { claims: { aud: 'another-client' } },
  'more-audiences': { claims: { aud: ['sigstore', 'another-client'] } },
  issuer: { claims: { iss: 'https://id.example.com' } },
  expired: { claims: { exp: 1_000_000_000 } },
  at_hash: { claims: { at_hash: 'AAAAAAAAAAAAAAAAAAAAAA' } },
  'alg-none': { token: (signed) => `${header({ alg: 'none' })}.${signed.split('.')[1]}.` },
  'alg-hmac': { token: (signed) => mac(`${header({ alg: 'HS256' })}.${signed.split('.')[1]}`) },
  signature: { token: (signed) => signed.replace(/.{8}$/, 'AAAAAAAA') },
  'no-id-token': { token: () => undefined },
  'document-issuer': { document: { issuer: 'https://id.example.com' } },
  'plain-authorization': { document: { authorization_endpoint: 'http://id.example.com/auth' } },
  'file-authorization': { document: { authorization_endpoint: 'file:///etc/passwd' } },
  'plain-token': { document: { token_endpoint: 'http://id.example.com/token' } },
  'no-iss-parameter': { callback: { iss: undefined } },
  'other-iss-parameter': { callback: { iss: 'https://id.example.com' } },
  'redirecting-token': { redirect: true },
  'token-error': { error: { error: 'invalid_grant', error_description: '\u001b[2Jcode is stale' } },
  'device-slow': { device: { answers: ['authorization_pending', 'slow_down'] } },
  'device-expired': { device: { answers: ['expired_token'] } },
  'device-page': { device: { answers: [], page: 'file:///etc/passwd' } },
  'device-code': { device: { answers: ['access_denied'], userCode: '\u001b[2JWDJB' } },
  'device-audience': { device: { answers: [] }, claims: { aud: 'another-client' } },
  'no-person': { callback: { code: undefined, error: 'access_denied' } },
};
const lie = LIES[process.argv[2]];
if (!lie) throw new Error(`no such lie: ${process.argv[2]}`);

const header = (content) => Buffer.from(JSON.stringify(content)).toString('base64url');
const mac = (text) => `${text}.${crypto.createHmac('sha256', 'sigstore').update(text).digest('base64url')}`;

const { privateKey, publicKey } = await jose.generateKeyPair('ES256');
const jwk = { ...(await jose.exportJWK(publicKey)), kid: 'key-1', alg: 'ES256', use: 'sig' };

await serve((issuer) => {
  const asked = new Map(); // by code
  const document = {
    issuer,
    authorization_endpoint: `${issuer}/auth`,
    token_endpoint: `${issuer}/token`,
    jwks_uri: `${issuer}/jwks`,
    response_types_supported: ['code'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['ES256', 'HS256', 'none'],
    token_endpoint_auth_methods_supported: ['none'],
    authorization_response_iss_parameter_supported: true,
    device_authorization_endpoint: lie.device && `${issuer}/device`,
    ...lie.document,
  };
  let lastPoll = -Infinity;
  let pause = 0;

  const json = (response, body, status = 200) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(body));
  };

  function authorize(query, response) {
    const code = crypto.randomUUID();
    asked.set(code, query);
    const back = new URL(query.get('redirect_uri'));
    const answer = { code, state: query.get('state'), iss: issuer, ...lie.callback };
    for (const [name, value] of Object.entries(answer)) {
      if (value !== undefined) back.searchParams.set(name, value);
    }
    response.writeHead(303, { location: back.href });
    response.end();
  }

  function device(form, response) {
    const code = crypto.randomUUID();
    asked.set(code, form);
    return json(response, {
      device_code: code,
      user_code: lie.device.userCode ?? 'WDJB-MJHT',
      verification_uri: lie.device.page ?? `${issuer}/page`,
      expires_in: 600,
      interval: 1,
    });
  }

  /** Why the device flow gives nothing yet; whoever asks again too soon gets nothing at all. */
  function notYet() {
    const now = performance.now();
    const early = now - lastPoll < pause;
    lastPoll = now;
    if (early) return 'access_denied';
    const answer = lie.device?.answers.shift();
    pause = answer === 'slow_down' ? 6000 : 1000;
    return answer;
  }

  async function token(form, response) {
    const error = form.has('device_code') ? notYet() : undefined;
    if (error) return json(response, { error }, 400);
    if (lie.error) return json(response, lie.error, 400);
    if (lie.redirect) {
      response.writeHead(307, { location: `${issuer}/elsewhere` });
      return response.end();
    }
    const query = asked.get(form.get('code') ?? form.get('device_code'));
    const proof = crypto.createHash('sha256').update(form.get('code_verifier') ?? '');
    if (query.get('code_challenge') !== proof.digest('base64url')
      || query.get('code_challenge_method') !== 'S256'
      || query.get('redirect_uri') !== form.get('redirect_uri')) {
      return json(response, { error: 'invalid_grant' }, 400);
    }
    const access = crypto.randomUUID();
    const hash = crypto.createHash('sha256').update(access).digest().subarray(0, 16);
    const now = Math.floor(Date.now() / 1000);
    const signed = await new jose.SignJWT({
      iss: issuer,
      aud: 'sigstore',
      sub: 'jane',
      email: 'jane@example.com',
      email_verified: true,
      iat: now,
      exp: now + 600,
      nonce: query.get('nonce') ?? undefined,
      at_hash: hash.toString('base64url'),
      ...lie.claims,
    }).setProtectedHeader({ alg: 'ES256', kid: 'key-1' }).sign(privateKey);
    const id = lie.token ? lie.token(signed) : signed;
    return json(response, { access_token: access, token_type: 'Bearer', id_token: id });
  }

  return async (request, response) => {
    const url = new URL(request.url, issuer);
    switch (url.pathname) {
      case '/.well-known/openid-configuration': return json(response, document);
      case '/jwks': return json(response, { keys: [jwk] });
      case '/auth': return authorize(url.searchParams, response);
      case '/device': return device(new URLSearchParams(await bodyOf(request)), response);
      case '/token': return token(new URLSearchParams(await bodyOf(request)), response);
      default:
        response.writeHead(404);
        return response.end();
    }
  };
});
