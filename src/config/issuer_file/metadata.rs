//! `ci-issuer-metadata`: how the claims of each CI provider become a name and extensions.

use std::collections::HashMap;

use crate::{
    config::{
        Fault,
        document::Node,
        fields::{Fields, Mistakes, Spelling, closest, pascal_case, text_of},
    },
    identity::{CiProvider, SanTemplate, Template},
    x509::ExtensionField,
};

/// The entries by name. An entry with mistakes is there as `None`, so that the issuers that name it
/// are not blamed too.
pub(super) type Providers = HashMap<String, Option<CiProvider>>;

pub(super) fn read(node: &Node, mistakes: &mut Mistakes) -> Providers {
    let Some(mut fields) = Fields::of(node, "ci-issuer-metadata", Spelling::Kebab, mistakes) else {
        return Providers::new();
    };
    let entries = fields.drain();
    entries.into_iter().map(|(key, node)| (key.text, provider(&node, mistakes))).collect()
}

fn provider(node: &Node, mistakes: &mut Mistakes) -> Option<CiProvider> {
    let place = "an entry of ci-issuer-metadata";
    let mut fields = Fields::of(node, place, Spelling::KebabOrPascal, mistakes)?;
    let defaults = match fields.take("default-template-values", mistakes) {
        Some(node) => default_values(&node, mistakes),
        None => Some(HashMap::new()),
    };
    let extensions = match fields.take("extension-templates", mistakes) {
        Some(node) => extension_templates(&node, mistakes),
        None => Some(Vec::new()),
    };
    let san = fields.required_text("subject-alternative-name-template", mistakes);
    fields.refuse_rest(mistakes);
    let san = san.and_then(|san| {
        let parsed = SanTemplate::parse(&san.value);
        mistakes.keep(san.at, parsed.map_err(|source| Fault::SanTemplate { source }))
    });
    Some(CiProvider::new(defaults?, extensions?, san?))
}

/// Values by claim name; an empty value is a value: it makes a claim optional.
fn default_values(node: &Node, mistakes: &mut Mistakes) -> Option<HashMap<String, String>> {
    use crate::config::document::{Content, is_null};
    let mut fields = Fields::of(node, "default-template-values", Spelling::Kebab, mistakes)?;
    let mut values = Some(HashMap::new());
    for (key, node) in fields.drain() {
        match &*node.content {
            // `environment:`, `~` and `null` say nothing, and are not the words.
            _ if is_null(&node) => {
                values.iter_mut().for_each(|values| {
                    values.insert(key.text.clone(), String::new());
                });
            }
            Content::Scalar { text, .. } if !text.chars().any(char::is_control) => {
                values.iter_mut().for_each(|values| {
                    values.insert(key.text.clone(), text.clone());
                });
            }
            _ => {
                let expected = "text without control characters";
                mistakes.add(node.at, Fault::Expected { key: key.text, expected });
                values = None;
            }
        }
    }
    values
}

fn extension_templates(
    node: &Node,
    mistakes: &mut Mistakes,
) -> Option<Vec<(ExtensionField, Template)>> {
    let place = "extension-templates";
    let mut fields = Fields::of(node, place, Spelling::Kebab, mistakes)?;
    let mut templates: Option<Vec<(ExtensionField, Template)>> = Some(Vec::new());
    for (key, node) in fields.drain() {
        let Some(field) = field_spelt(&key.text) else {
            let suggestion = closest(&key.text, ExtensionField::template_keys());
            mistakes.add(key.at, Fault::UnknownKey { key: key.text, place, suggestion });
            templates = None;
            continue;
        };
        let already = templates.iter().flatten().any(|(known, _)| *known == field);
        if already {
            let fault = Fault::DuplicateKey { key: key.text.clone(), first_line: node.at.line };
            mistakes.add(key.at, fault);
        }
        let template = text_of(&key.text, &node, mistakes).and_then(|text| {
            let parsed = Template::parse(&text.value);
            mistakes.keep(text.at, parsed.map_err(|source| Fault::Template { source }))
        });
        templates = templates.zip(template).map(|(mut templates, template)| {
            templates.push((field, template));
            templates
        });
    }
    templates
}

fn field_spelt(key: &str) -> Option<ExtensionField> {
    let kebab =
        ExtensionField::template_keys().find(|known| *known == key || pascal_case(known) == key)?;
    ExtensionField::from_template_key(kebab)
}
