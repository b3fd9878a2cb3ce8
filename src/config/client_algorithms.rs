//! `client-signing-algorithms` of `mayfly.yaml`.

use super::{
    Fault, Position,
    document::Node,
    fields::{Located, Mistakes, closest, items_of, text_of},
};
use crate::policy::{ClientAlgorithm, ClientAlgorithmError, ClientAlgorithms};

const KEY: &str = "client-signing-algorithms";

/// Reads the list; every wrong name in it is noted.
pub(super) fn read(node: &Node, mistakes: &mut Mistakes) -> Option<ClientAlgorithms> {
    let items = items_of(KEY, node, mistakes)?;
    if items.is_empty() {
        let expected = "a list of at least one algorithm: without it nothing could be certified";
        mistakes.add(node.at, Fault::Expected { key: KEY.to_owned(), expected });
        return None;
    }
    let mut permitted: Vec<(Position, ClientAlgorithm)> = Vec::with_capacity(items.len());
    let mut complete = true;
    for item in &items {
        let Some(algorithm) = one(item, mistakes) else {
            complete = false;
            continue;
        };
        if let Some((first, _)) = permitted.iter().find(|(_, known)| *known == algorithm) {
            let (item_name, first_line) = (algorithm.name().to_owned(), first.line);
            let fault = Fault::ListedTwice { key: KEY, item: item_name, first_line };
            mistakes.add(item.at, fault);
        }
        permitted.push((item.at, algorithm));
    }
    let permitted = permitted.into_iter().map(|(_, algorithm)| algorithm).collect();
    complete.then(|| ClientAlgorithms::new(permitted))
}

fn one(item: &Node, mistakes: &mut Mistakes) -> Option<ClientAlgorithm> {
    let Located { at, value: name } = text_of(KEY, item, mistakes)?;
    let parsed = name.parse().map_err(|source| match source {
        ClientAlgorithmError::Unknown => Fault::NotOneOf {
            key: KEY.to_owned(),
            suggestion: closest(&name, ClientAlgorithm::names()),
            text: name,
            expected: "an algorithm of Sigstore's registry",
        },
        never @ ClientAlgorithmError::NeverCertified { .. } => {
            Fault::ClientAlgorithm { name, source: never }
        }
    });
    mistakes.keep(at, parsed)
}
