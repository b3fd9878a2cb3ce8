// A Rekor v1 on a real port, made of the handlers of npm @sigstore/mock.
//
//   rekor.mjs PUBLIC_KEY_FILE
//
// Writes its public key (PEM) before it says that it is ready. Its entries of kind hashedrekord
// verify in every client; those of kind dsse do not.
import crypto from 'node:crypto';
import fs from 'node:fs';
import mock from '@sigstore/mock';
import { bodyOf, serve } from './ready.mjs';

const [, , publicKeyFile] = process.argv;

await serve(async (url) => {
  const keys = crypto.generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const rekor = mock.rekorHandler(await mock.initializeTLog(url, keys));
  fs.writeFileSync(publicKeyFile, keys.publicKey.export({ format: 'pem', type: 'spki' }));
  return async (request, response) => {
    if (request.method !== 'POST' || request.url !== rekor.path) {
      response.writeHead(404).end();
      return;
    }
    const answer = await rekor.fn(await bodyOf(request));
    response.writeHead(answer.statusCode, { 'content-type': answer.contentType ?? 'text/plain' });
    response.end(answer.response);
  };
});
