// Makes a signing key for op.mjs: jwks.mjs FILE ALGORITHM KID [keep]
//
// The new key comes first and signs from then on; with `keep` the old ones stay published, as a
// provider does while their tokens live.
import fs from 'node:fs';
import * as jose from 'jose';

const [, , file, alg, kid, keep] = process.argv;
const { privateKey } = await jose.generateKeyPair(alg, { extractable: true });
const fresh = { ...(await jose.exportJWK(privateKey)), alg, kid, use: 'sig' };
const old = keep === 'keep' ? JSON.parse(fs.readFileSync(file, 'utf8')).keys : [];
fs.writeFileSync(file, JSON.stringify({ keys: [fresh, ...old] }));
