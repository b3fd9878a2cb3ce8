//! The same by hand: shell lines that do what the demo did, with openssl and curl alone.

use reqwest::Url;

/// Lines for a POSIX shell. They work in an empty directory and leave their files there.
pub(super) fn lines(base: &Url, token_url: &str, email: &str) -> String {
    let base = base.as_str().trim_end_matches('/');
    format!(
        r#"cd "$(mktemp -d)"
TOKEN=$(curl -sS '{token_url}')
openssl ecparam -name prime256v1 -genkey -noout -out key.pem
PUBLIC=$(openssl ec -in key.pem -pubout 2>/dev/null | awk '{{printf "%s\\n", $0}}')
PROOF=$(printf %s '{email}' | openssl dgst -sha256 -sign key.pem | openssl base64 -A)
curl -sS -o answer.json '{base}/api/v2/signingCert' \
  -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
  -d '{{"publicKeyRequest":{{"publicKey":{{"content":"'"$PUBLIC"'"}},"proofOfPossession":"'"$PROOF"'"}}}}'
printf '%b\n' "$(tr '"' '\n' < answer.json | grep -m1 BEGIN)" > certificate.pem
openssl x509 -in certificate.pem -noout -text
curl -sS '{base}/log/checkpoint'"#
    )
}
