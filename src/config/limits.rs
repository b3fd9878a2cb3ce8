//! `limits` of `mayfly.yaml`.

use std::ops::RangeInclusive;

use super::{
    Fault, Limits,
    document::Node,
    fields::{Fields, Located, Mistakes, Spelling},
};

/// Reads the mapping; what is not in it keeps its default.
pub(super) fn read(node: &Node, mistakes: &mut Mistakes) -> Option<Limits> {
    let mut fields = Fields::of(node, "limits", Spelling::Kebab, mistakes)?;
    let mut limits = Limits::default();
    // More than the default serves no client and only helps an attacker.
    let body_bytes = limits.body_bytes as u64;
    let given = fields.count("requests-in-flight", mistakes);
    set_size(
        ("requests-in-flight", &mut limits.requests_in_flight),
        given,
        1..=65_536,
        "requests",
        mistakes,
    );
    let given = fields.size_bytes("body-size", mistakes);
    set_size(("body-size", &mut limits.body_bytes), given, 4096..=body_bytes, "bytes", mistakes);
    let given = fields.duration_ms("deadline", mistakes);
    set(("deadline", &mut limits.deadline_ms), given, 100..=60_000, "ms", mistakes);
    let given = fields.duration_ms("header-timeout", mistakes);
    set(("header-timeout", &mut limits.header_timeout_ms), given, 100..=120_000, "ms", mistakes);
    let given = fields.duration_ms("idle-timeout", mistakes);
    set(("idle-timeout", &mut limits.idle_timeout_ms), given, 1000..=3_600_000, "ms", mistakes);
    let given = fields.count("connections", mistakes);
    set_size(("connections", &mut limits.connections), given, 16..=65_536, "connections", mistakes);
    fields.refuse_rest(mistakes);
    Some(limits)
}

/// Puts what was given, if it was, in the place of the default.
fn set(
    (key, limit): (&'static str, &mut u64),
    given: Option<Located<u64>>,
    range: RangeInclusive<u64>,
    unit: &'static str,
    mistakes: &mut Mistakes,
) {
    let Some(Located { at, value }) = given else {
        return;
    };
    if !range.contains(&value) {
        let range = format!("{} to {} {unit}", range.start(), range.end());
        mistakes.add(at, Fault::OutOfRange { key: key.to_owned(), range });
    }
    *limit = value;
}

fn set_size(
    (key, limit): (&'static str, &mut usize),
    given: Option<Located<u64>>,
    range: RangeInclusive<u64>,
    unit: &'static str,
    mistakes: &mut Mistakes,
) {
    let mut value = *limit as u64;
    set((key, &mut value), given, range, unit, mistakes);
    *limit = usize::try_from(value).unwrap_or(usize::MAX);
}
