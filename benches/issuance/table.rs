//! The numbers as a table for people.

use std::fmt::Write;

use crate::Measured;

/// One column for each kind of CA key.
pub(crate) fn render(results: &[Measured]) -> String {
    let mut text = String::new();
    line(&mut text, "CA key", results.iter().map(|one| one.ca_key.to_owned()));
    for (name, decimals, number) in ROWS {
        line(
            &mut text,
            name,
            results.iter().map(|one| match number(one) {
                Some(value) => format!("{value:.decimals$}"),
                None => "-".to_owned(),
            }),
        );
    }
    text
}

fn line(text: &mut String, name: &str, cells: impl Iterator<Item = String>) {
    // Writing to a `String` cannot fail.
    let _written = write!(text, "{name:36}");
    for cell in cells {
        let _written = write!(text, "{cell:>12}");
    }
    text.push('\n');
}

/// Name, decimals, and where the number is.
type Number = fn(&Measured) -> Option<f64>;
const ROWS: [(&str, usize, Number); 18] = [
    ("floor: token verify, us", 1, |one| Some(one.floor.token_verify_us)),
    ("floor: proof verify, us", 1, |one| Some(one.floor.proof_verify_us)),
    ("floor: CA signature, us (twice)", 1, |one| Some(one.floor.ca_sign_us)),
    ("floor: SCT signature, us", 1, |one| Some(one.floor.sct_sign_us)),
    ("floor, us", 1, |one| Some(one.floor.total_us)),
    ("pipeline CPU per certificate, us", 1, |one| Some(one.pipeline?.cpu_us_per_certificate)),
    ("  x floor", 2, |one| Some(one.pipeline?.cpu_us_per_certificate / one.floor.total_us)),
    ("  certificates per second", 0, |one| Some(one.pipeline?.certificates_per_second)),
    ("lint of one certificate, us", 2, |one| Some(one.pipeline?.lint_us)),
    ("server CPU per certificate, us", 1, |one| Some(one.server?.cpu_us_per_certificate)),
    ("  x floor", 2, |one| Some(one.server?.cpu_us_per_certificate / one.floor.total_us)),
    ("certificates per second", 0, |one| Some(one.server?.certificates_per_second)),
    ("p50 at half load, ms", 2, |one| Some(one.server?.p50_ms)),
    ("p99 at half load, ms", 2, |one| Some(one.server?.p99_ms)),
    ("resident memory after load, MiB", 1, |one| Some(one.server?.resident_mib)),
    ("resident memory, peak, MiB", 1, |one| Some(one.server?.peak_mib)),
    ("restart to first certificate, ms", 0, |one| Some(one.server?.restart_ms)),
    ("  over a log of entries", 0, |one| Some(one.server?.restart_entries as f64)),
];
