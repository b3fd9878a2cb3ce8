"""Asks Fulcio and Mayfly the same questions and prints where the answers differ. Run by hand.

  fulcio_compare.py FULCIO MAYFLY

Both are programs. They get one issuer file, one CA key and one chain, and no log; the issuers are
served here. docs/migrating-from-fulcio.md says what each difference means.
"""
import base64
import datetime
import http.server
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
PASSPHRASE = 'pw'
ADDRESS = 'jane@example.com'
SIGN = '/api/v2/signingCert'
SIGN_V1 = '/api/v1/signingCert'
SUBJECT_ALT_NAME = '2.5.29.17'
KEY_ID = '2.5.29.14'
# A claim by this name is not sent: it says what the client signs.
CHALLENGE = 'CHALLENGE'

EMAIL = {'sub': 'jane-1', 'email': ADDRESS, 'email_verified': True}
KUBERNETES = {
    'sub': 'system:serviceaccount:team-1:builder',
    'kubernetes.io': {
        'namespace': 'team-1', 'pod': {'name': 'p', 'uid': 'u'},
        'serviceaccount': {'name': 'builder', 'uid': 'v'},
    },
}
GITHUB = {
    'sub': 'repo:o/r:ref:refs/heads/main', 'event_name': 'push',
    'job_workflow_ref': 'o/r/.github/workflows/w.yml@refs/heads/main', 'job_workflow_sha': '11',
    'ref': 'refs/heads/main', 'repository': 'o/r', 'repository_id': '1001',
    'repository_owner': 'o', 'repository_owner_id': '2002', 'repository_visibility': 'public',
    'run_attempt': '2', 'run_id': '3003', 'runner_environment': 'github-hosted', 'sha': '44',
    'workflow': 'release', 'workflow_ref': 'o/r/.github/workflows/w.yml@refs/heads/main',
    'workflow_sha': '55',
}
GITLAB = {
    'sub': 'project_path:g/p:ref_type:branch:ref:main',
    'ci_config_ref_uri': 'gitlab.com/g/p//.gitlab-ci.yml@refs/heads/main', 'ci_config_sha': '11',
    'job_id': '302', 'namespace_id': '72', 'namespace_path': 'g', 'pipeline_id': '574',
    'pipeline_source': 'web', 'project_id': '20', 'project_path': 'g/p',
    'project_visibility': 'public', 'ref': 'main', 'ref_type': 'branch',
    'runner_environment': 'gitlab-hosted', 'runner_id': 1, 'sha': '44',
}
BUILDKITE = {
    'sub': 'organization:acme:pipeline:web', 'organization_slug': 'acme', 'pipeline_slug': 'web',
}
CODEFRESH = {
    'sub': 'account:628a:pipeline:65e5', 'account_id': '628a', 'account_name': 'acme',
    'pipeline_id': '65e5', 'pipeline_name': 'web/release', 'runner_environment': 'hybrid',
    'platform_url': 'https://codefresh.corp.example.com', 'scm_ref': 'main',
    'scm_repo_url': 'https://github.com/acme/web', 'workflow_id': '64f4',
}
CI = {
    'sub': 'job-1', 'workflow': 'o/r/w.yml@refs/heads/main', 'repository_id': '17', 'run_id': '5',
}
REFS = [
    'fix#1', 'a%2fb', '100%', 'a b', 'ä', 'a?b', 'a\\b', 'a+b', 'a&b=c', '../x', 'a//b', 'a/./b',
    '<x>', '{{x}}', 'a:b', "a'b", 'a"b', 'a,b;c', '~a', 'a\tb',
]


def issuer_file(base):
    issuers = {}

    def issuer(path, kind, **more):
        url = f'{base}/{path}'
        issuers[url] = {'issuer-url': url, 'client-id': 'sigstore', 'type': kind, **more}

    issuer('email', 'email')
    issuer('skip', 'email', **{'skip-email-verification': True})
    issuer('dex', 'email', **{'issuer-claim': '$.federated_claims.connector_id'})
    issuer('uri', 'uri', **{'subject-domain': base})
    issuer('username', 'username', **{'subject-domain': '127.0.0.1'})
    issuer('spiffe', 'spiffe', **{'spiffe-trust-domain': 'prod.example.com'})
    issuer('kubernetes', 'kubernetes')
    issuer('chainguard', 'chainguard-identity')
    issuer('github', 'github-workflow')
    issuer('gitlab', 'gitlab-pipeline')
    issuer('buildkite', 'buildkite-job')
    issuer('codefresh', 'codefresh-workflow')
    issuer('ci', 'ci-provider', **{'ci-provider': 'test-ci'})
    metadata = {
        'default-template-values': {'url': 'https://ci.example.com', 'environment': ''},
        'extension-templates': {
            'build-signer-uri': '{{ .url }}/{{ .workflow }}',
            'source-repository-identifier': 'repository_id',
            'deployment-environment': 'environment',
            'run-invocation-uri': '{{ .url }}/runs/{{ .run_id }}',
        },
        'subject-alternative-name-template': '{{ .url }}/{{ .workflow }}',
    }
    return {'oidc-issuers': issuers, 'ci-issuer-metadata': {'test-ci': metadata}}


def tokens(base):
    """(what, issuer, claims); a claim that is None is left out."""
    yield from email_tokens()
    yield from subject_tokens(base)
    yield from kubernetes_tokens()
    yield from fixed_ci_tokens()
    yield from ci_provider_tokens()
    yield 'unknown issuer', 'unknown', EMAIL


def email_tokens():
    yield 'email', 'email', EMAIL
    for value in (None, False, 'true', 'True', 'TRUE', 'false', 1, 0):
        yield f'email_verified {value!r}', 'email', {**EMAIL, 'email_verified': value}
    for value in (
        None, '', 'jane', 'Jane <jane@example.com>', '"a b"@example.com', 'jane@exämple.com',
        'jane@xn--exmple-cua.com', 'a@b', 'jane@[127.0.0.1]', 'jane+x@example.com',
        'JANE@EXAMPLE.COM', 'jane@example.com.', 'jane@-x.com', 'a' * 65 + '@example.com',
        [ADDRESS], 7,
    ):
        yield f'email {value!r:.40}', 'email', {**EMAIL, 'email': value}
    for value in (None, '', 7):
        yield f'sub {value!r}', 'email', {**EMAIL, 'sub': value}
    for value in (None, ['sigstore'], ['x', 'sigstore'], 'x', 'Sigstore', [], 7):
        yield f'aud {value!r}', 'email', {**EMAIL, 'aud': value}
    now, day = int(time.time()), 86_400
    for name, offset in (
        ('exp', -30), ('exp', 300.5), ('exp', 30 * day), ('nbf', 30), ('nbf', 120), ('nbf', 400),
        ('iat', 400), ('iat', -40 * day),
    ):
        yield f'{name} in {offset} s', 'email', {**EMAIL, name: now + offset}
    for name, value in (
        ('exp', None), ('exp', str(now + 300)), ('nbf', 'x'), ('iat', None), ('iat', 'x'),
    ):
        yield f'{name} {value!r:.4}', 'email', {**EMAIL, name: value}
    yield 'not verified, skipped', 'skip', {**EMAIL, 'email_verified': False}
    for value in ('https://accounts.example.com', '', 7, None):
        claims = {**EMAIL, 'federated_claims': {'connector_id': value}}
        yield f'issuer-claim {value!r}', 'dex', claims
    yield 'issuer-claim missing', 'dex', EMAIL


def subject_tokens(base):
    for sub in (
        'BASE', 'BASE/a/b', 'BASE/a?b=c', 'BASE/a#b', 'BASE/a%20b', 'BASE/a b', 'BASE/ä',
        'BASE/../x', 'BASE//x', 'BASE/%zz', 'http://127.0.0.1/x', 'http://example.com/x', 'x',
        'urn:x:y',
    ):
        yield f'uri {sub}', 'uri', {'sub': sub.replace('BASE', base)}
    for other in (base.replace('http', 'https'), base.replace('//', '//u@')):
        yield f'uri {other}/x', 'uri', {'sub': f'{other}/x'}
    for sub in (
        'jane', 'jane.doe', 'jane doe', 'jane!x', ADDRESS, 'jänë', 'a' * 300, '-', 'jane@x',
    ):
        yield f'username {sub:.20}', 'username', {'sub': sub}
    for sub in (
        'prod.example.com/ns/a', 'prod.example.com', 'prod.example.com/', 'PROD.example.com/a',
        'evil.example.com/a', 'a.prod.example.com/x', 'prod.example.com/a/../b',
        'prod.example.com/a//b', 'prod.example.com/a?x', 'prod.example.com/a#x',
        'prod.example.com:80/a', 'prod.example.com/ä', 'prod.example.com/a%20b',
        'u@prod.example.com/a',
    ):
        yield f'spiffe {sub}', 'spiffe', {'sub': f'spiffe://{sub}'}
    yield 'spiffe https', 'spiffe', {'sub': 'https://prod.example.com/a'}
    for sub in ('0475f6/b74c', 'a', 'a/../b', '/a', 'a//b', 'a#b', 'a?b', 'a%2fb', 'a b', 'ä'):
        yield f'chainguard {sub}', 'chainguard', {'sub': sub}
    yield from signed_either_way('chainguard', 'chainguard', {'sub': 'a'})


def signed_either_way(what, issuer, claims):
    claims = {**claims, 'email': ADDRESS, 'email_verified': True}
    for name in ('email', 'sub'):
        yield f'{what}, {name} signed', issuer, {**claims, CHALLENGE: claims[name]}


def kubernetes_tokens():
    yield 'kubernetes', 'kubernetes', KUBERNETES
    for name, value in (
        ('namespace', ''), ('namespace', None), ('namespace', 'a/b'), ('namespace', 'A'),
        ('namespace', 7), ('serviceaccount', None), ('serviceaccount', {'name': ''}),
        ('serviceaccount', {'name': 'a.b'}), ('serviceaccount', {'name': '../x'}), ('pod', None),
    ):
        claims = {**KUBERNETES['kubernetes.io'], name: value}
        yield f'kubernetes {name} {value!r}', 'kubernetes', {**KUBERNETES, 'kubernetes.io': claims}
    yield 'kubernetes, no claim', 'kubernetes', {'sub': KUBERNETES['sub']}
    yield 'kubernetes, other sub', 'kubernetes', {**KUBERNETES, 'sub': 'other'}


def fixed_ci_tokens():
    for kind, claims in (
        ('github', GITHUB), ('gitlab', GITLAB), ('buildkite', BUILDKITE), ('codefresh', CODEFRESH),
    ):
        yield kind, kind, claims
        for name, value in claims.items():
            other = 7 if isinstance(value, str) else '7'
            yield f'{kind}, no {name}', kind, {**claims, name: None}
            yield f'{kind}, {name} empty', kind, {**claims, name: ''}
            yield f'{kind}, {name} {other!r}', kind, {**claims, name: other}
    for ref in REFS:
        ref = f'refs/heads/{ref}'
        yield f'github {ref}', 'github', {**GITHUB, 'job_workflow_ref': f'o/r/w.yml@{ref}'}
        config = f'gitlab.com/g/p//.gitlab-ci.yml@{ref}'
        yield f'gitlab {ref}', 'gitlab', {**GITLAB, 'ci_config_ref_uri': config}
    ref = 'refs/heads/fix#1'
    sharp = {'workflow': 'a #1', 'ref': ref, 'workflow_ref': f'o/r/w.yml@{ref}'}
    yield 'github, # elsewhere', 'github', {**GITHUB, **sharp}
    for value in ('tag', 'merge'):
        yield f'gitlab, ref_type {value}', 'gitlab', {**GITLAB, 'ref_type': value}
    yield 'gitlab, runner_id 0', 'gitlab', {**GITLAB, 'runner_id': 0}


def ci_provider_tokens():
    yield 'ci', 'ci', CI
    for ref in REFS:
        yield f'ci refs/heads/{ref}', 'ci', {**CI, 'workflow': f'o/r/w.yml@refs/heads/{ref}'}
    for name in ('workflow', 'run_id', 'repository_id'):
        for value in (
            None, '', 5, 9007199254740991, 9007199254740993, 1.5, 1e21, True, [1], {'a': 1},
        ):
            yield f'ci {name} {value!r}', 'ci', {**CI, name: value}
    for url in ('https://other.example.com', 'https://evil.example.com@ci.example.com'):
        yield f'ci, url {url}', 'ci', {**CI, 'url': url}
    yield 'ci, environment', 'ci', {**CI, 'environment': 'prod'}
    yield from signed_either_way('ci', 'ci', CI)


def requests(issuers):
    """(what, path, body, headers)"""
    json_type = {'Content-Type': 'application/json'}
    for what, issuer, claims in tokens(issuers.base):
        key = ec.generate_private_key(ec.SECP256R1())
        signed = claims.get(CHALLENGE) or claims.get('email') or claims.get('sub')
        body = request(issuers.token(issuer, claims), key, str(signed))
        yield what, SIGN, body, json_type
    token = issuers.token('email', EMAIL)
    for what, body in [*keys(token), *forms(token, issuers)]:
        yield what, SIGN, body, json_type
    yield from headers(token)


def keys(token):
    for what, key in (
        ('P-256', ec.generate_private_key(ec.SECP256R1())),
        ('P-384', ec.generate_private_key(ec.SECP384R1())),
        ('P-521', ec.generate_private_key(ec.SECP521R1())),
        ('P-224', ec.generate_private_key(ec.SECP224R1())),
        ('secp256k1', ec.generate_private_key(ec.SECP256K1())),
        ('Ed25519', ed25519.Ed25519PrivateKey.generate()),
        ('RSA with e = 3', rsa.generate_private_key(3, 2048)),
        *((f'RSA {bits}', rsa.generate_private_key(65537, bits))
          for bits in (1024, 2048, 2560, 3072, 4096)),
    ):
        yield f'key {what}', request(token, key, ADDRESS)
        for algorithm in (hashes.SHA256(), hashes.SHA384(), hashes.SHA512()):
            body = {**credentials(token), 'certificateSigningRequest': csr(key, algorithm)}
            yield f'CSR {what}, {algorithm.name}', body


def forms(token, issuers):
    """Requests that are odd or wrong in their form."""
    key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    good, pem, signature = request(token, key, ADDRESS), pem_of(key), proof(key, ADDRESS)

    def content(text, **more):
        made = {'publicKey': {'content': text, **more}, 'proofOfPossession': b64(signature)}
        return {**credentials(token), 'publicKeyRequest': made}

    def possession(value):
        made = {**good['publicKeyRequest'], 'proofOfPossession': value}
        return {**credentials(token), 'publicKeyRequest': made}

    def with_token(text):
        return {**good, 'credentials': {'oidcIdentityToken': text}}

    for value in (csr(other), '', None):
        yield f'key and CSR {value!r:.5}', {**good, 'certificateSigningRequest': value}
    yield 'CSR garbage', {**credentials(token), 'certificateSigningRequest': b64(b'hello')}
    yield 'no key', credentials(token)
    for value in (None, {}, {'publicKey': None}):
        yield f'publicKeyRequest {value}', {**credentials(token), 'publicKeyRequest': value}
    for value in ('', 'RSA', 2, 99, None, []):
        yield f'algorithm {value!r}', content(pem, algorithm=value)
    yield 'unknown member', {**good, 'x': 1}
    yield 'member twice', json.dumps(good).replace('{', '{"credentials":null,', 1).encode()
    yield 'snake_case', {
        'credentials': {'oidc_identity_token': token},
        'public_key_request': {
            'public_key': {'content': pem}, 'proof_of_possession': b64(signature),
        },
    }
    body = ''.join(pem.split('\n')[1:-2])
    one_line = f'-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----'
    pkcs1 = rsa.generate_private_key(65537, 2048)
    pkcs1_pem = pkcs1.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.PKCS1).decode()
    for what, text in (
        ('in one line', one_line), ('with text around', f'hello\n{pem}bye\n'),
        ('with CRLF', pem.replace('\n', '\r\n')), ('twice', pem + pem_of(other)),
        ('labelled CERTIFICATE', pem.replace('PUBLIC KEY', 'CERTIFICATE')), ('no PEM', 'hello'),
        ('empty', ''), ('private', private_pem(key, serialization.NoEncryption())),
    ):
        yield f'key {what}', content(text)
    signed = {'content': pkcs1_pem}, b64(proof(pkcs1, ADDRESS))
    yield 'key in PKCS #1', {**credentials(token), 'publicKeyRequest': dict(
        zip(('publicKey', 'proofOfPossession'), signed))}
    sha384 = key.sign(ADDRESS.encode(), ec.ECDSA(hashes.SHA384()))
    for what, value in (
        ('empty', ''), ('null', None), ('no base64', '***'),
        ('base64url', base64.urlsafe_b64encode(signature).decode()),
        ('unpadded', b64(signature).rstrip('=')), ('by another key', b64(proof(other, ADDRESS))),
        ('over sub', b64(proof(key, EMAIL['sub']))), ('over nothing', b64(proof(key, ''))),
        ('with a byte more', b64(signature + b'x')), ('with SHA-384', b64(sha384)),
    ):
        yield f'proof {what}', possession(value)
    yield 'credentials null', {**good, 'credentials': None}
    for what, text in (
        ('empty', ''), ('null', None), ('garbage', 'x.y.z'), ('behind a space', f' {token}'),
        ('with another signature', token[:-8] + 'AAAAAAAA'),
        *((f'header {header}', issuers.token('email', EMAIL, header)) for header in (
            {'alg': 'none'}, {'alg': 'HS256', 'kid': 'k'}, {'alg': 'ES256', 'kid': 'z'},
            {'alg': 'ES256'})),
    ):
        yield f'token {what}', with_token(text)
    whole = json.dumps(good).encode()
    for body in (b'[]', b'', b'null', b'hello', b'{}', whole[:50], whole * 2):
        yield f'body {body[:8]} {len(body)}', body


def headers(token):
    key = ec.generate_private_key(ec.SECP256R1())
    good = request(token, key, ADDRESS)
    body = {'publicKeyRequest': good['publicKeyRequest']}
    bearer = {'Authorization': f'Bearer {token}'}
    for what, given in (
        ('Bearer', bearer), ('text/plain', {**bearer, 'Content-Type': 'text/plain'}),
        ('bearer', {'Authorization': f'bearer {token}'}), ('no scheme', {'Authorization': token}),
        ('Basic', {'Authorization': 'Basic eA=='}),
        ('Accept', {**bearer, 'Accept': 'application/pem-certificate-chain'}),
    ):
        yield f'header {what}', SIGN, body, given
    yield 'header wrong, body right', SIGN, good, {'Authorization': 'Bearer x'}

    def v1(content, **more):
        signed = b64(proof(key, ADDRESS))
        made = {'content': b64(content), 'algorithm': 'ecdsa'}
        return {'publicKey': made, 'signedEmailAddress': signed, **more}

    der = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    for what, body in (
        ('DER', v1(der)), ('PEM', v1(pem_of(key).encode())), ('empty', {}),
        ('CSR null', v1(der, certificateSigningRequest=None)), ('garbage', b'hello'),
        ('CSR', {'certificateSigningRequest': csr(key)}), ('garbage key', v1(b'hello')),
        ('wrong proof', v1(der, signedEmailAddress='eA==')),
    ):
        yield f'v1 {what}', SIGN_V1, body, bearer
    yield 'v1 without token', SIGN_V1, v1(der), {}


def b64(data):
    return base64.b64encode(data).decode()


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b'=').decode()


def credentials(token):
    return {'credentials': {'oidcIdentityToken': token}}


def request(token, key, signed):
    made = {'publicKey': {'algorithm': 'ECDSA', 'content': pem_of(key)},
            'proofOfPossession': b64(proof(key, signed))}
    return {**credentials(token), 'publicKeyRequest': made}


def pem_of(key):
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def private_pem(key, encryption):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption).decode()


def proof(key, text):
    data = text.encode()
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data)
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    by_size = {384: hashes.SHA384(), 521: hashes.SHA512()}
    return key.sign(data, ec.ECDSA(by_size.get(key.curve.key_size, hashes.SHA256())))


def csr(key, algorithm=hashes.SHA256()):
    if isinstance(key, ed25519.Ed25519PrivateKey):
        algorithm = None
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return b64(made.sign(key, algorithm).public_bytes(serialization.Encoding.PEM))


class Issuers:
    """Every path is an issuer, and all have one key."""

    def __init__(self):
        self.key = ec.generate_private_key(ec.SECP256R1())
        server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), self.handler())
        self.base = f'http://127.0.0.1:{server.server_port}'
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def document(self, path):
        if path == '/jwks':
            numbers = self.key.public_key().public_numbers()
            x, y = (b64url(number.to_bytes(32, 'big')) for number in (numbers.x, numbers.y))
            key = {'kty': 'EC', 'crv': 'P-256', 'alg': 'ES256', 'use': 'sig', 'kid': 'k'}
            return {'keys': [{**key, 'x': x, 'y': y}]}
        return {
            'issuer': self.base + path.removesuffix('/.well-known/openid-configuration'),
            'jwks_uri': f'{self.base}/jwks', 'authorization_endpoint': self.base,
            'token_endpoint': self.base, 'response_types_supported': ['code'],
            'subject_types_supported': ['public'],
            'id_token_signing_alg_values_supported': ['ES256'],
        }

    def handler(self):
        issuers = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def do_GET(self):
                body = json.dumps(issuers.document(self.path)).encode()
                self.send_response(200)
                self.send_header('Content-Type', 'application/json')
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        return Handler

    def token(self, issuer, claims, header=None):
        now = int(time.time())
        usual = {'iss': f'{self.base}/{issuer}', 'aud': 'sigstore', 'iat': now, 'exp': now + 300}
        payload = {**usual, **claims}
        payload = {k: v for k, v in payload.items() if v is not None and k != CHALLENGE}
        header = header or {'alg': 'ES256', 'kid': 'k', 'typ': 'JWT'}
        text = '.'.join(b64url(json.dumps(part).encode()) for part in (header, payload))
        r, s = decode_dss_signature(self.key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f'{text}.{b64url(r.to_bytes(32, "big") + s.to_bytes(32, "big"))}'


def write_authority(folder):
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    name = lambda text: x509.Name([
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, 'Test'),
        x509.NameAttribute(NameOID.COMMON_NAME, text)])
    day = datetime.timedelta(days=1)

    def certificate(subject, public_key, path_length, *extensions):
        key_id = x509.SubjectKeyIdentifier.from_public_key(public_key)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        made = x509.CertificateBuilder(
            issuer_name=name('Root'), subject_name=name(subject), public_key=public_key,
            serial_number=x509.random_serial_number(), not_valid_before=NOW - day,
            not_valid_after=NOW + 300 * day)
        made = made.add_extension(x509.BasicConstraints(True, path_length), True)
        made = made.add_extension(usage, True).add_extension(key_id, False)
        for extension in extensions:
            made = made.add_extension(extension, False)
        signed = made.sign(root_key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM).decode()

    issuing = certificate(
        'Issuing', key.public_key(), 0, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]),
        x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()))
    (folder / 'chain.pem').write_text(issuing + certificate('Root', root_key.public_key(), 1))
    encryption = serialization.BestAvailableEncryption(PASSPHRASE.encode())
    (folder / 'key.pem').write_text(private_pem(key, encryption))


def start(folder, fulcio, mayfly, base):
    """Both in `folder`; their processes and URLs."""
    # Fulcio reads JSON by other names than YAML, so the file must not be JSON.
    (folder / 'issuers.yaml').write_text('# YAML\n' + json.dumps(issuer_file(base)))
    theirs, ours, grpc, metrics, private = (str(free_port()) for _ in range(5))
    (folder / 'mayfly.yaml').write_text(f'''
listen: 127.0.0.1:{ours}
private: 127.0.0.1:{private}
url: http://localhost:{ours}
issuers: issuers.yaml
authorities:
  - key: file:key.pem
    passphrase: env:COMPARE_PASSPHRASE
    chain: chain.pem
log: none
audit: audit.jsonl
''')
    options = {
        'ca': 'fileca', 'fileca-cert': 'chain.pem', 'fileca-key': 'key.pem',
        'fileca-key-passwd': PASSPHRASE, 'fileca-watch': 'false', 'config-path': 'issuers.yaml',
        'host': '127.0.0.1', 'port': theirs, 'grpc-host': '127.0.0.1', 'grpc-port': grpc,
        'metrics-port': metrics, 'ct-log-url': '', 'legacy-unix-domain-socket': f'@{theirs}',
    }
    environment = {**os.environ, 'COMPARE_PASSPHRASE': PASSPHRASE}
    processes = []
    for name, command in (
        ('fulcio', [fulcio, 'serve', *(f'--{k}={v}' for k, v in options.items())]),
        ('mayfly', [mayfly, 'serve', '--config', 'mayfly.yaml']),
    ):
        with open(folder / f'{name}.log', 'w') as log:
            processes.append(subprocess.Popen(
                command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT))
    urls = [f'http://127.0.0.1:{port}' for port in (theirs, ours)]
    for url in urls:
        wait_for(f'{url}/healthz', folder)
    return processes, urls


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def wait_for(url, folder):
    for _ in range(100):
        try:
            return urllib.request.urlopen(url).read()
        except OSError:
            time.sleep(0.1)
    sys.exit(f'{url} does not answer: see the logs in {folder}')


def ask(url, body=None, headers=None, method=None):
    if isinstance(body, dict):
        body = json.dumps(body).encode()
    made = urllib.request.Request(url, body, headers or {}, method=method)
    try:
        with urllib.request.urlopen(made, timeout=30) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def facts(answer):
    """What counts of an answer to a signing request, by name."""
    status, headers, body = answer
    shown = {'status': status, 'content-type': headers['content-type']}
    if status >= 400:
        try:
            error = json.loads(body)
            return {**shown, 'code': error['code'], 'message': error['message']}
        except ValueError:
            return {**shown, 'message': body.decode(errors='replace')}
    pems = body.decode()
    if status == 200:
        (member,) = (member for member in json.loads(body).values() if member)
        pems = '\n'.join(member['chain']['certificates'])
    leaf, *chain = x509.load_pem_x509_certificates(pems.encode())
    seconds = (leaf.not_valid_after_utc - leaf.not_valid_before_utc).total_seconds()
    shown |= {
        'chain': [certificate.serial_number for certificate in chain], 'seconds': seconds,
        'issuer': leaf.issuer.rfc4514_string(), 'subject': leaf.subject.rfc4514_string(),
        'algorithm': leaf.signature_algorithm_oid.dotted_string, 'order': [],
    }
    for extension in leaf.extensions:
        critical = 'critical ' if extension.critical else ''
        oid = extension.oid.dotted_string
        value = extension.value.public_bytes()
        # Both are allowed to hash the key as they like (RFC 5280, 4.2.1.2).
        shown[oid] = critical + (str(len(value)) if oid == KEY_ID else readable(value))
        shown['order'].append(oid)
    return shown


def readable(data):
    text = data.decode('utf-8', 'replace')
    return re.sub(r'[^ -~]', '.', text)


def differences(theirs, ours):
    if 'message' in theirs and 'message' in ours:
        same = theirs['status'] == ours['status'] and theirs.get('code') == ours.get('code')
        # The texts of the table in docs/api.md, up to the reason.
        if same and ours['message'].startswith(theirs['message'].split(':')[0]):
            return
    if 'message' in theirs or 'message' in ours:
        for who, shown in (('fulcio', theirs), ('mayfly', ours)):
            yield f'{who}: {shown["status"]} {shown.get("message") or shown[SUBJECT_ALT_NAME]}'
        return
    for name in sorted(set(theirs) | set(ours)):
        if theirs.get(name) != ours.get(name):
            yield f'{name}: {theirs.get(name)} | {ours.get(name)}'


def compare_signing(urls, issuers):
    same = different = 0
    for what, path, body, headers in requests(issuers):
        answers = [facts(ask(url + path, body, headers)) for url in urls]
        found = list(differences(*answers))
        same, different = same + (not found), different + bool(found)
        if found:
            print(what, *found, sep='\n  ')
    return same, different


def compare_everything_else(urls):
    origin = {'Origin': 'https://page.example.com'}
    preflight = {
        **origin, 'Access-Control-Request-Method': 'POST',
        'Access-Control-Request-Headers': 'authorization,content-type',
    }
    bundle, roots = '/api/v2/trustBundle', '/api/v1/rootCert'
    same = different = 0
    for method, path, headers in (
        ('GET', bundle, origin), ('GET', roots, origin), ('GET', '/healthz', {}),
        ('GET', '/api/v2/configuration', {}), ('GET', SIGN, {}), ('PUT', SIGN, {}),
        ('HEAD', bundle, {}), ('POST', bundle, {}), ('DELETE', roots, {}), ('GET', '/', {}),
        ('GET', '/api/v9/x', {}), ('POST', f'{SIGN}/', {}), ('GET', f'/{bundle}', {}),
        ('GET', f'{bundle}?x=1', {}), ('OPTIONS', SIGN, preflight), ('OPTIONS', SIGN, {}),
        ('OPTIONS', '/nothing', preflight),
    ):
        answers = [ask(url + path, None, headers, method) for url in urls]
        seen = [(status, got['content-type'], normal(body)) for status, got, body in answers]
        same, different = same + (seen[0] == seen[1]), different + (seen[0] != seen[1])
        if seen[0] != seen[1]:
            print(method, path, *(f'\n  {each}'[:300] for each in seen))
    return same, different


def normal(body):
    """JSON by its value, issuers in any order; other text as it is."""
    try:
        value = json.loads(body)
    except ValueError:
        return body.decode()
    if 'issuers' in value:
        value['issuers'].sort(key=lambda issuer: issuer['issuerUrl'])
    return json.dumps(value, sort_keys=True)


def main():
    _, fulcio, mayfly = sys.argv
    issuers = Issuers()
    folder = Path(tempfile.mkdtemp(prefix='fulcio-compare-'))
    write_authority(folder)
    programs = (os.path.abspath(program) for program in (fulcio, mayfly))
    processes, urls = start(folder, *programs, issuers.base)
    try:
        counts = compare_signing(urls, issuers), compare_everything_else(urls)
    finally:
        for process in processes:
            process.terminate()
    same, different = (sum(count) for count in zip(*counts))
    print(f'{same} answers are the same, {different} differ; logs in {folder}')


if __name__ == '__main__':
    main()
