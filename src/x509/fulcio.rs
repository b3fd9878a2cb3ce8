//! The extensions that say where a signature comes from, 1.3.6.1.4.1.57264.1.N.
//!
//! In: values by field. Out: the DER of the extensions in the order in which they are rendered.
//! Knows nothing of tokens and of how a claim becomes a value. Everything about a field stands in
//! one row of [`ROWS`]: its arc, its names and how its value is encoded.

use super::tlv;

/// What an extension says. `Issuer` is written twice: as .1 (raw) and as .8 (UTF8String), always
/// from the same value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExtensionField {
    /// .1 and .8: `iss` of the token, or what `issuer-claim` puts in its place.
    Issuer,
    /// .2, deprecated upstream.
    GithubWorkflowTrigger,
    /// .3, deprecated upstream.
    GithubWorkflowSha,
    /// .4, deprecated upstream.
    GithubWorkflowName,
    /// .5, deprecated upstream.
    GithubWorkflowRepository,
    /// .6, deprecated upstream.
    GithubWorkflowRef,
    /// .9
    BuildSignerUri,
    /// .10
    BuildSignerDigest,
    /// .11
    RunnerEnvironment,
    /// .12
    SourceRepositoryUri,
    /// .13
    SourceRepositoryDigest,
    /// .14
    SourceRepositoryRef,
    /// .15
    SourceRepositoryIdentifier,
    /// .16
    SourceRepositoryOwnerUri,
    /// .17
    SourceRepositoryOwnerIdentifier,
    /// .18
    BuildConfigUri,
    /// .19
    BuildConfigDigest,
    /// .20
    BuildTrigger,
    /// .21
    RunInvocationUri,
    /// .22
    SourceRepositoryVisibilityAtSigning,
    /// .23
    DeploymentEnvironment,
    /// .24: `sub` of the token as it stands there.
    TokenSubject,
}

/// How a value stands in the extension's OCTET STRING.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// The bytes of the text and nothing else: no DER (.1 to .6).
    Raw,
    /// A DER UTF8String (.8 and later).
    Utf8String,
}

/// One extension: a row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The last arc of its object identifier under 1.3.6.1.4.1.57264.1.
    pub arc: u8,
    /// The field whose value it carries.
    pub field: ExtensionField,
    /// The name in the registry of Sigstore's object identifiers, for people.
    pub title: &'static str,
    /// The key in `extension-templates` of an issuer file; `None` where the value is not the
    /// operator's to choose.
    pub template_key: Option<&'static str>,
    /// How the value is written.
    pub encoding: Encoding,
}

/// THE table, in render order. .7 is missing because it is no extension but an
/// otherName, see [`super::names`].
#[rustfmt::skip] // a table is read down its columns
pub const ROWS: [Row; 23] = {
    use Encoding::{Raw, Utf8String};
    use ExtensionField as F;
    [
        fixed(1, F::Issuer, Raw, "Issuer"),
        templated(2, F::GithubWorkflowTrigger, Raw,
            "GitHub Workflow Trigger", "github-workflow-trigger"),
        templated(3, F::GithubWorkflowSha, Raw,
            "GitHub Workflow SHA", "github-workflow-sha"),
        templated(4, F::GithubWorkflowName, Raw,
            "GitHub Workflow Name", "github-workflow-name"),
        templated(5, F::GithubWorkflowRepository, Raw,
            "GitHub Workflow Repository", "github-workflow-repository"),
        templated(6, F::GithubWorkflowRef, Raw,
            "GitHub Workflow Ref", "github-workflow-ref"),
        fixed(8, F::Issuer, Utf8String, "Issuer (V2)"),
        templated(9, F::BuildSignerUri, Utf8String,
            "Build Signer URI", "build-signer-uri"),
        templated(10, F::BuildSignerDigest, Utf8String,
            "Build Signer Digest", "build-signer-digest"),
        templated(11, F::RunnerEnvironment, Utf8String,
            "Runner Environment", "runner-environment"),
        templated(12, F::SourceRepositoryUri, Utf8String,
            "Source Repository URI", "source-repository-uri"),
        templated(13, F::SourceRepositoryDigest, Utf8String,
            "Source Repository Digest", "source-repository-digest"),
        templated(14, F::SourceRepositoryRef, Utf8String,
            "Source Repository Ref", "source-repository-ref"),
        templated(15, F::SourceRepositoryIdentifier, Utf8String,
            "Source Repository Identifier", "source-repository-identifier"),
        templated(16, F::SourceRepositoryOwnerUri, Utf8String,
            "Source Repository Owner URI", "source-repository-owner-uri"),
        templated(17, F::SourceRepositoryOwnerIdentifier, Utf8String,
            "Source Repository Owner Identifier", "source-repository-owner-identifier"),
        templated(18, F::BuildConfigUri, Utf8String,
            "Build Config URI", "build-config-uri"),
        templated(19, F::BuildConfigDigest, Utf8String,
            "Build Config Digest", "build-config-digest"),
        templated(20, F::BuildTrigger, Utf8String,
            "Build Trigger", "build-trigger"),
        templated(21, F::RunInvocationUri, Utf8String,
            "Run Invocation URI", "run-invocation-uri"),
        templated(22, F::SourceRepositoryVisibilityAtSigning, Utf8String,
            "Source Repository Visibility At Signing", "source-repository-visibility-at-signing"),
        templated(23, F::DeploymentEnvironment, Utf8String,
            "Deployment Environment", "deployment-environment"),
        fixed(24, F::TokenSubject, Utf8String, "Token Subject"),
    ]
};

impl ExtensionField {
    /// The field that a key of `extension-templates` names, such as `build-signer-uri`.
    pub fn from_template_key(key: &str) -> Option<Self> {
        ROWS.iter().find(|row| row.template_key == Some(key)).map(|row| row.field)
    }

    /// Its key in `extension-templates`; `None` for the two that no template may set.
    pub fn template_key(self) -> Option<&'static str> {
        ROWS.iter().find(|row| row.field == self).and_then(|row| row.template_key)
    }

    /// All keys that `extension-templates` may have, in render order.
    pub fn template_keys() -> impl Iterator<Item = &'static str> {
        ROWS.iter().filter_map(|row| row.template_key)
    }
}

impl Row {
    /// The object identifier in dotted form.
    pub fn oid(&self) -> String {
        format!("1.3.6.1.4.1.57264.1.{}", self.arc)
    }
}

/// The values a certificate carries, at most one per field, never an empty one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FulcioExtensions {
    /// Indexed by the discriminant of the field. Boxed, because an identity moves through many
    /// hands, and most of it would be these.
    values: Box<[Option<String>; FIELDS]>,
}

impl FulcioExtensions {
    /// Sets a field. An empty value means that the extension is left out, as upstream does.
    pub fn set(&mut self, field: ExtensionField, value: String) {
        self.values[field as usize] = Some(value).filter(|value| !value.is_empty());
    }

    /// The value of a field, if it has one.
    pub fn value(&self, field: ExtensionField) -> Option<&str> {
        self.values[field as usize].as_deref()
    }

    /// The extensions as they will be rendered: rows that have a value, in render order. The
    /// issuer comes twice.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Row, &str)> {
        ROWS.iter().filter_map(|row| Some((row, self.value(row.field)?)))
    }

    /// Octets that [`Self::write_der`] appends.
    pub fn der_bytes(&self) -> usize {
        self.iter().map(|(row, value)| Lengths::of(row, value).element).sum()
    }

    /// Appends `Extension` structures (RFC 5280, 4.1), none critical, one after the other without
    /// an outer SEQUENCE.
    pub fn write_der(&self, out: &mut Vec<u8>) {
        out.reserve(self.der_bytes());
        for (row, value) in self.iter() {
            write_extension(row, value, out);
        }
    }
}

/// `Extension ::= SEQUENCE { extnID, critical DEFAULT FALSE, extnValue OCTET STRING }`; a default
/// value is not written in DER.
fn write_extension(row: &Row, value: &str, out: &mut Vec<u8>) {
    let lengths = Lengths::of(row, value);
    tlv::push_header(tlv::TAG_SEQUENCE, lengths.sequence, out);
    tlv::push_header(tlv::TAG_OID, OID_PREFIX.len() + 1, out);
    out.extend_from_slice(&OID_PREFIX);
    out.push(row.arc);
    tlv::push_header(tlv::TAG_OCTET_STRING, lengths.octets, out);
    match row.encoding {
        Encoding::Raw => out.extend_from_slice(value.as_bytes()),
        Encoding::Utf8String => {
            tlv::push_element(tlv::TAG_UTF8_STRING, value.as_bytes(), out);
        }
    }
}

/// Content lengths of one extension's nested elements, known before anything is written.
struct Lengths {
    /// Content of the OCTET STRING.
    octets: usize,
    /// Content of the SEQUENCE.
    sequence: usize,
    /// The whole.
    element: usize,
}

impl Lengths {
    fn of(row: &Row, value: &str) -> Self {
        let octets = match row.encoding {
            Encoding::Raw => value.len(),
            Encoding::Utf8String => tlv::element_bytes(value.len()),
        };
        let sequence = tlv::element_bytes(OID_PREFIX.len() + 1) + tlv::element_bytes(octets);
        Self { octets, sequence, element: tlv::element_bytes(sequence) }
    }
}

/// A row whose value an issuer file may set by template.
const fn templated(
    arc: u8,
    field: ExtensionField,
    encoding: Encoding,
    title: &'static str,
    template_key: &'static str,
) -> Row {
    Row { arc, field, title, template_key: Some(template_key), encoding }
}

/// A row whose value is not the operator's to choose.
const fn fixed(arc: u8, field: ExtensionField, encoding: Encoding, title: &'static str) -> Row {
    Row { arc, field, title, template_key: None, encoding }
}

/// Fields: one fewer than rows, because the issuer has two.
const FIELDS: usize = ROWS.len() - 1;

/// 1.3.6.1.4.1.57264.1 as the content of an OBJECT IDENTIFIER; the last arc follows as one octet.
const OID_PREFIX: [u8; 9] = [0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xbf, 0x30, 0x01];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use der::{Decode, SliceReader, asn1::Utf8StringRef};
    use proptest::prelude::*;
    use x509_cert::ext::Extension;

    use super::*;

    /// Reads extensions back with the `der` crate: (object identifier, critical, value octets).
    fn decoded(der: &[u8]) -> Vec<Extension> {
        let mut reader = SliceReader::new(der).unwrap();
        let mut extensions = Vec::new();
        while !der::Reader::is_finished(&reader) {
            extensions.push(Extension::decode(&mut reader).unwrap());
        }
        extensions
    }

    fn text(row: &Row, octets: &[u8]) -> String {
        match row.encoding {
            Encoding::Raw => String::from_utf8(octets.to_vec()).unwrap(),
            Encoding::Utf8String => Utf8StringRef::from_der(octets).unwrap().as_str().to_owned(),
        }
    }

    fn all_set() -> FulcioExtensions {
        let mut extensions = FulcioExtensions::default();
        for row in &ROWS {
            extensions.set(row.field, format!("value of {}", row.field as usize));
        }
        extensions
    }

    #[test]
    fn the_table_has_every_arc_but_seven_once_and_in_render_order() {
        let arcs: Vec<u8> = ROWS.iter().map(|row| row.arc).collect();
        let expected: Vec<u8> = (1..=24).filter(|arc| *arc != 7).collect();
        assert_eq!(arcs, expected);
        let fields: HashSet<_> = ROWS.iter().map(|row| row.field).collect();
        assert_eq!(fields.len(), FIELDS);
    }

    #[test]
    fn raw_is_used_up_to_arc_six_and_utf8_string_after_it() {
        for row in &ROWS {
            let expected = if row.arc <= 6 { Encoding::Raw } else { Encoding::Utf8String };
            assert_eq!(row.encoding, expected, "{}", row.title);
        }
    }

    /// The names follow one rule, so that a typing error in the table shows.
    #[test]
    fn template_keys_are_the_titles_in_kebab_case() {
        for row in &ROWS {
            let Some(key) = row.template_key else {
                assert!(matches!(row.arc, 1 | 8 | 24), "{}", row.title);
                continue;
            };
            assert_eq!(key, row.title.to_lowercase().replace(' ', "-"));
            assert_eq!(ExtensionField::from_template_key(key), Some(row.field));
            assert_eq!(row.field.template_key(), Some(key));
        }
    }

    #[test]
    fn nobody_can_template_the_issuer_or_the_token_subject() {
        for key in
            ["issuer", "token-subject", "subject", "", "Build-Signer-URI", "build_signer_uri"]
        {
            assert_eq!(ExtensionField::from_template_key(key), None, "{key}");
        }
    }

    /// Bytes worked out by hand from X.690, for one raw and one UTF8String extension.
    #[test]
    fn the_two_issuer_extensions_have_exactly_these_bytes() {
        let mut extensions = FulcioExtensions::default();
        extensions.set(ExtensionField::Issuer, "https://a".to_owned());
        let mut der = Vec::new();
        extensions.write_der(&mut der);
        assert_eq!(
            hex::encode(der),
            concat!(
                "3017",
                "060a",
                "2b0601040183bf300101",
                "0409",
                "68747470733a2f2f61",
                "3019",
                "060a",
                "2b0601040183bf300108",
                "040b",
                "0c09",
                "68747470733a2f2f61",
            )
        );
    }

    #[test]
    fn all_extensions_are_read_back_by_the_der_crate_in_render_order() {
        let extensions = all_set();
        let mut der = Vec::new();
        extensions.write_der(&mut der);
        assert_eq!(der.len(), extensions.der_bytes());
        let decoded = decoded(&der);
        assert_eq!(decoded.len(), ROWS.len());
        for (row, extension) in ROWS.iter().zip(&decoded) {
            assert_eq!(extension.extn_id.to_string(), row.oid());
            assert!(!extension.critical);
            let expected = extensions.value(row.field).unwrap();
            assert_eq!(text(row, extension.extn_value.as_bytes()), expected);
        }
    }

    #[test]
    fn an_empty_value_is_left_out_and_takes_back_an_earlier_one() {
        let mut extensions = FulcioExtensions::default();
        extensions.set(ExtensionField::BuildTrigger, "push".to_owned());
        extensions.set(ExtensionField::BuildTrigger, String::new());
        assert_eq!(extensions, FulcioExtensions::default());
        assert_eq!(extensions.der_bytes(), 0);
    }

    proptest! {
        #[test]
        fn any_text_of_any_length_survives(value in "\\PC{0,400}") {
            let mut extensions = FulcioExtensions::default();
            extensions.set(ExtensionField::Issuer, value.clone());
            extensions.set(ExtensionField::GithubWorkflowRef, value.repeat(3));
            extensions.set(ExtensionField::TokenSubject, value);
            let mut der = Vec::new();
            extensions.write_der(&mut der);
            prop_assert_eq!(der.len(), extensions.der_bytes());
            let rows: Vec<_> = extensions.iter().collect();
            let decoded = decoded(&der);
            prop_assert_eq!(decoded.len(), rows.len());
            for ((row, value), extension) in rows.into_iter().zip(&decoded) {
                prop_assert_eq!(text(row, extension.extn_value.as_bytes()), value);
            }
        }
    }
}
