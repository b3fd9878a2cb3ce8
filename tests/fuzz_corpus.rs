//! The targets of `tests/fuzz/targets` over the inputs of `tests/fuzz/corpus`, and over mutations
//! of these that are the same in every run. How to look for more: docs/testing.md.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its corpus fails")]

#[path = "fuzz/targets/mod.rs"]
#[expect(unreachable_pub, reason = "the fuzz programs use it from outside")]
#[expect(clippy::expect_used, clippy::panic, reason = "that is how a target speaks")]
mod targets;

use std::{
    collections::BTreeSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use targets::{TARGETS, Target};

#[test]
fn nt_02_no_input_of_the_corpus_makes_a_parser_panic_or_break_its_promise() {
    let run = for_each_target(|(name, _)| {
        let inputs = corpus(name);
        let run = |(path, input): &(PathBuf, Vec<u8>)| {
            or_name(|| targets::run(name, input), &path.display().to_string())
        };
        let taken = inputs.iter().filter(|input| run(input)).count();
        // Else time or a change elsewhere has made the corpus worth nothing.
        assert!((1..inputs.len()).contains(&taken), "{name} takes {taken} of {}", inputs.len());
        inputs.len()
    });
    assert!(run > 10 * TARGETS.len(), "only {run} inputs");
}

#[test]
fn nt_02_no_mutation_of_the_corpus_makes_a_parser_panic_or_break_its_promise() {
    let run = for_each_target(|(name, _)| {
        let inputs: Vec<Vec<u8>> = corpus(name).into_iter().map(|(_, input)| input).collect();
        let mut random = Random(0x6d61_7966_6c79);
        for turn in 0..MUTATIONS {
            let mutated = random.mutation_of(&inputs);
            or_name(
                || targets::run(name, &mutated),
                &format!("{name}, mutation {turn}: {}", shown(&mutated)),
            );
        }
        MUTATIONS
    });
    assert_eq!(run, MUTATIONS * TARGETS.len());
}

#[test]
fn every_target_has_a_corpus_and_a_program_and_nothing_else_has() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(targets.len(), TARGETS.len(), "no name twice");
    let folders = fs::read_dir(folder().join("corpus")).unwrap().map(|entry| entry.unwrap());
    let folders = folders.filter(|entry| entry.path().is_dir());
    let folders: BTreeSet<String> =
        folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert_eq!(folders, targets);
    let manifest = fs::read_to_string(folder().join("Cargo.toml")).unwrap();
    let programs = manifest.split("[[bin]]\nname = \"").skip(1);
    let programs: BTreeSet<String> =
        programs.map(|rest| rest.split('"').next().unwrap().to_owned()).collect();
    assert_eq!(programs, targets);
}

/// Runs `work` for all targets, as many at once as there are processors; the sum of what it says.
fn for_each_target(work: impl Fn(&Target) -> usize + Sync) -> usize {
    let (next, sum) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(target) = TARGETS.get(next.fetch_add(1, Ordering::Relaxed)) {
                    sum.fetch_add(work(target), Ordering::Relaxed);
                }
            });
        }
    });
    sum.into_inner()
}

/// A panic says where it came from, but not which input made it.
fn or_name(run: impl FnOnce() -> bool, input: &str) -> bool {
    let taken = catch_unwind(AssertUnwindSafe(run));
    assert!(taken.is_ok(), "the input was {input}");
    taken.unwrap_or_default()
}

fn shown(input: &[u8]) -> String {
    input.escape_ascii().to_string()
}

/// The inputs of a target, by name, so that they come in the same order everywhere.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = folder().join("corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "nothing in the corpus of '{target}'");
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz")
}

/// Xorshift64* (Vigna 2016): the same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        usize::try_from(number).unwrap() % end.max(1)
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }

    /// One of the inputs, changed in one to four places.
    fn mutation_of(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let mut input = inputs[self.below(inputs.len())].clone();
        for _ in 0..=self.below(4) {
            let at = self.below(input.len());
            let to = at + self.below((input.len() - at).min(64));
            match self.below(7) {
                0 if !input.is_empty() => input[at] = self.byte(),
                1 if !input.is_empty() => input[at] ^= 1 << self.below(8),
                2 => input.insert(at, self.byte()),
                3 => drop(input.drain(at..to)),
                4 => input.truncate(at),
                // A stretch twice, or one of another input.
                5 => drop(input.splice(at..at, input[at..to].to_vec())),
                _ => {
                    let other = &inputs[self.below(inputs.len())];
                    let from = self.below(other.len());
                    let until = from + self.below(other.len() - from);
                    input.splice(at..to, other[from..until].iter().copied());
                }
            }
        }
        input
    }
}

/// Of each target.
const MUTATIONS: usize = 1500;
