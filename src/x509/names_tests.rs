//! Names as tokens have them, and as attackers would like to have them.

use der::{Decode, asn1::Utf8StringRef};
use proptest::prelude::*;
use x509_cert::ext::pkix::{SubjectAltName as DecodedNames, name::GeneralName};

use super::*;

fn decoded(name: &SubjectAltName) -> GeneralName {
    let mut der = Vec::new();
    name.write_general_names(&mut der);
    assert_eq!(der.len(), name.general_names_bytes());
    let mut names = DecodedNames::from_der(&der).unwrap().0;
    assert_eq!(names.len(), 1);
    names.remove(0)
}

#[test]
fn an_address_becomes_one_rfc822_name() {
    for address in ["a@b.c", "First.Last+tag@example.com", "o'hara@xn--bcher-kva.example"] {
        let name = SubjectAltName::email(address).unwrap();
        assert_eq!((name.kind(), name.value()), (NameKind::Email, address));
        let GeneralName::Rfc822Name(text) = decoded(&name) else { panic!("{address}") };
        assert_eq!(text.as_str(), address);
    }
}

#[test]
fn a_uri_becomes_one_uniform_resource_identifier() {
    for uri in [
        "https://github.com/o/r/.github/workflows/w.yml@refs/heads/main",
        "https://gitlab.com/g/p//.gitlab-ci.yml@refs/tags/v1",
        "spiffe://prod.example_1/ns/a",
        "http://127.0.0.1:8080/x?y=%20",
        "https://[2001:db8::1]:443/",
        "https://g.codefresh.io/acme/proj/name:id/7",
    ] {
        let name = SubjectAltName::uri(uri).unwrap();
        assert_eq!((name.kind(), name.value()), (NameKind::Uri, uri));
        let GeneralName::UniformResourceIdentifier(text) = decoded(&name) else { panic!("{uri}") };
        assert_eq!(text.as_str(), uri);
    }
}

#[test]
fn a_user_name_becomes_one_other_name_with_its_domain() {
    let name = SubjectAltName::username("jo", "example.com").unwrap();
    assert_eq!((name.kind(), name.value()), (NameKind::Username, "jo!example.com"));
    let GeneralName::OtherName(other) = decoded(&name) else { panic!() };
    assert_eq!(other.type_id.to_string(), "1.3.6.1.4.1.57264.1.7");
    let text = other.value.decode_as::<Utf8StringRef<'_>>().unwrap();
    assert_eq!(text.as_str(), "jo!example.com");
}

/// Worked out by hand from X.690.
#[test]
fn the_other_name_has_exactly_these_bytes() {
    let mut der = Vec::new();
    SubjectAltName::username("a", "b").unwrap().write_general_names(&mut der);
    assert_eq!(
        hex::encode(&der),
        concat!("3015", "a013", "060a2b0601040183bf300107", "a005", "0c03", "612162")
    );
}

/// An address and what is wrong with it.
const BAD_ADDRESSES: [(&str, &str); 20] = [
    ("", "it is empty"),
    ("plain", "it has no '@'"),
    ("@b", LOCAL_PART),
    ("a..b@c", LOCAL_PART),
    (".a@c", LOCAL_PART),
    ("a(comment)@b", "it contains '(' at byte 1, which is not allowed there"),
    ("\"a b\"@c", "it contains '\"' at byte 0, which is not allowed there"),
    ("a@b@c", "it contains '@' at byte 1, which is not allowed there"),
    ("a\0@b", "it contains '\\0' at byte 1, which is not allowed there"),
    ("a@b\n", "it contains '\\n' at byte 3, which is not allowed there"),
    ("a@b\0.example", "it contains '\\0' at byte 3, which is not allowed there"),
    ("ü@b", "it contains 'ü' at byte 0, which is not allowed there"),
    ("a@bücher.example", "it contains 'ü' at byte 3, which is not allowed there"),
    ("a <a@b>", "it contains ' ' at byte 1, which is not allowed there"),
    ("a@[127.0.0.1]", "it contains '[' at byte 2, which is not allowed there"),
    ("a@*.example", "it contains '*' at byte 2, which is not allowed there"),
    ("a@-b", "the domain '-b' is not a host name"),
    ("a@b.", "the domain 'b.' is not a host name"),
    ("a@", "the domain '' is not a host name"),
    (
        "a@localhost",
        "the domain 'localhost' has no dot, so it names another machine wherever it is read",
    ),
];
const LOCAL_PART: &str =
    "the part before '@' is empty, longer than 64 bytes or has a misplaced dot";

#[test]
fn nt_34_addresses_that_can_be_read_in_two_ways_are_refused() {
    for (address, message) in BAD_ADDRESSES {
        assert_eq!(SubjectAltName::email(address).unwrap_err().to_string(), message);
    }
}

#[test]
fn nt_34_an_address_has_254_bytes_at_most_and_64_of_them_before_the_at() {
    let domain = ["d"; 126].join(".");
    assert!(SubjectAltName::email(&format!("aa@{domain}")).is_ok());
    let too_long = NameError::TooLong { bytes: 255, limit_bytes: 254 };
    assert_eq!(SubjectAltName::email(&format!("aaa@{domain}")), Err(too_long));
    assert!(SubjectAltName::email(&format!("{}@b.c", "l".repeat(64))).is_ok());
    let long_local = format!("{}@b.c", "l".repeat(65));
    assert_eq!(SubjectAltName::email(&long_local), Err(NameError::LocalPart));
    assert!(SubjectAltName::email(&format!("a@{}", "l".repeat(64))).is_err());
}

/// A URI and what is wrong with it.
const BAD_URIS: [(&str, &str); 25] = [
    ("", "it is empty"),
    ("//github.com/o", NOT_ABSOLUTE),
    ("github.com/o", NOT_ABSOLUTE),
    ("1https://a", NOT_ABSOLUTE),
    ("urn:uuid:1", NOT_ABSOLUTE),
    ("https:///path", "the host '' is not a host name or address"),
    ("https://user@a/", USER_INFO),
    ("https://good.example@evil.example/", USER_INFO),
    ("https://a/#f", "it contains a fragment ('#')"),
    ("https://a b/", "it contains ' ' at byte 9, which is not allowed there"),
    ("https://a/\u{7}", "it contains '\\u{7}' at byte 10, which is not allowed there"),
    ("https://a/\n", "it contains '\\n' at byte 10, which is not allowed there"),
    ("https://a/ü", "it contains 'ü' at byte 10, which is not allowed there"),
    ("https://a\\@b/", "it contains '\\\\' at byte 9, which is not allowed there"),
    ("https://a/%2", "'%' at byte 10 is not followed by two hexadecimal digits"),
    ("https://a/%zz", "'%' at byte 10 is not followed by two hexadecimal digits"),
    ("https://%61/", "the host '%61' is not a host name or address"),
    ("https://*.example/", "the host '*.example' is not a host name or address"),
    ("https://a..b/", "the host 'a..b' is not a host name or address"),
    ("https://a:70000/", "the port '70000' is not a number up to 65535"),
    ("https://a:+1/", "the port '+1' is not a number up to 65535"),
    ("https://a:/", "the port '' is not a number up to 65535"),
    ("https://[::1%25eth0]/", "the host '[::1%25eth0]' is not a host name or address"),
    ("https://[::1/", "the host '[::1' is not a host name or address"),
    ("https://[::1]x/", "the port '' is not a number up to 65535"),
];
const NOT_ABSOLUTE: &str = "it is not an absolute URI: 'scheme://host' is missing";
const USER_INFO: &str = "it contains user information before '@' in its authority";

#[test]
fn nt_34_uris_that_can_be_read_in_two_ways_are_refused() {
    for (uri, message) in BAD_URIS {
        assert_eq!(SubjectAltName::uri(uri).unwrap_err().to_string(), message, "{uri}");
    }
    let long = |bytes: usize| format!("https://a/{}", "p".repeat(bytes - 10));
    assert!(SubjectAltName::uri(&long(2048)).is_ok());
    let too_long = NameError::TooLong { bytes: 2049, limit_bytes: 2048 };
    assert_eq!(SubjectAltName::uri(&long(2049)), Err(too_long));
}

#[test]
fn nt_36_user_names_cannot_forge_the_separator_or_an_address() {
    let reserved = |character| Err(NameError::ReservedInUsername { character });
    assert_eq!(SubjectAltName::username("a!evil", "example.com"), reserved('!'));
    assert_eq!(SubjectAltName::username("a@b.c", "example.com"), reserved('@'));
    for subject in ["", "a b", "a\n", "ü", "a\0"] {
        assert!(SubjectAltName::username(subject, "example.com").is_err(), "{subject:?}");
    }
    for domain in ["", "https://example.com", "a!b", "ü.example", "*.example"] {
        assert!(SubjectAltName::username("a", domain).is_err(), "{domain:?}");
    }
}

proptest! {
    /// Whatever is accepted is the same text afterwards, in printable ASCII.
    #[test]
    fn nt_02_random_text_never_panics(text in "\\PC{0,40}", tail in "[a-z@./:%#\\[\\]!]{0,40}") {
        for candidate in
            [text.clone(), tail.clone(), format!("https://{tail}"), format!("{text}@{tail}")]
        {
            let names = [SubjectAltName::email(&candidate), SubjectAltName::uri(&candidate)];
            for name in names.into_iter().flatten() {
                prop_assert_eq!(name.value(), &candidate);
                prop_assert!(candidate.bytes().all(|byte| byte.is_ascii_graphic()));
                decoded(&name);
            }
        }
    }
}
