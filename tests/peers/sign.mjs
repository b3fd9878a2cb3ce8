// Signs and verifies with sigstore-js as its users do.
//
//   sign.mjs sign   CA_URL REKOR_URL TOKEN ARTIFACT BUNDLE
//   sign.mjs verify TRUST_CONFIG ARTIFACT BUNDLE IDENTITY ISSUER
//
// `verify` asks for one SCT and one Rekor entry. Prints `signed` or `verified SAN ISSUER`; a
// refusal is the exception's text and exit code 1.
import fs from 'node:fs';
import bundles from '@sigstore/bundle';
import specs from '@sigstore/protobuf-specs';
import verification from '@sigstore/verify';
import sigstore from 'sigstore';

async function sign(fulcioURL, rekorURL, identityToken, artifact, bundleFile) {
  const bundle = await sigstore.sign(fs.readFileSync(artifact), {
    fulcioURL, rekorURL, identityToken, tlogUpload: true, retry: 0,
  });
  fs.writeFileSync(bundleFile, JSON.stringify(bundle));
  console.log('signed');
}

function verify(trustConfig, artifact, bundleFile, identity, issuer) {
  const { trustedRoot } = JSON.parse(fs.readFileSync(trustConfig, 'utf8'));
  const material = verification.toTrustMaterial(specs.TrustedRoot.fromJSON(trustedRoot));
  const verifier = new verification.Verifier(material, { ctlogThreshold: 1, tlogThreshold: 1 });
  const bundle = bundles.bundleFromJSON(JSON.parse(fs.readFileSync(bundleFile, 'utf8')));
  const entity = verification.toSignedEntity(bundle, fs.readFileSync(artifact));
  const policy = { subjectAlternativeName: identity, extensions: { issuer } };
  const signer = verifier.verify(entity, policy);
  const { subjectAlternativeName, extensions } = signer.identity;
  console.log('verified', subjectAlternativeName, extensions.issuer);
}

const [, , command, ...rest] = process.argv;
try {
  await { sign, verify }[command](...rest);
} catch (error) {
  console.error(`${error.name}: ${error.message}`);
  process.exitCode = 1;
}
