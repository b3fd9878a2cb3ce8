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
    // More than the defaults serves no client and only helps an attacker.
    let (body_bytes, token_bytes) = (limits.body_bytes as u64, limits.token_bytes as u64);
    let given = fields.count("requests-in-flight", mistakes);
    set_size(&mut limits.requests_in_flight, given, 1..=65_536, "requests", mistakes);
    let given = fields.size_bytes("body-size", mistakes);
    set_size(&mut limits.body_bytes, given, 4096..=body_bytes, "bytes", mistakes);
    let given = fields.size_bytes("token-size", mistakes);
    set_size(&mut limits.token_bytes, given, 1024..=token_bytes, "bytes", mistakes);
    let given = fields.duration_ms("deadline", mistakes);
    set(&mut limits.deadline_ms, given, 100..=60_000, "ms", mistakes);
    let given = fields.duration_ms("header-timeout", mistakes);
    set(&mut limits.header_timeout_ms, given, 100..=120_000, "ms", mistakes);
    let given = fields.duration_ms("idle-timeout", mistakes);
    set(&mut limits.idle_timeout_ms, given, 1000..=3_600_000, "ms", mistakes);
    fields.refuse_rest(mistakes);
    Some(limits)
}

fn set(
    limit: &mut u64,
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
        mistakes.add(at, Fault::OutOfRange { key: "limits".to_owned(), range });
    }
    *limit = value;
}

fn set_size(
    limit: &mut usize,
    given: Option<Located<u64>>,
    range: RangeInclusive<u64>,
    unit: &'static str,
    mistakes: &mut Mistakes,
) {
    let mut value = *limit as u64;
    set(&mut value, given, range, unit, mistakes);
    *limit = usize::try_from(value).unwrap_or(usize::MAX);
}
