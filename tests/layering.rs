//! A module uses only lower layers (its own children apart): the table below,
//! held against every `use crate::…` and every `crate::…` path in `src/`.

#![expect(clippy::unwrap_used, reason = "a test that cannot read the tree fails")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Layer 0 has two floors: values that everything may use, and what is made of them.
const LAYERS: &[(&str, u32)] = &[
    ("files", 0),
    ("time", 0),
    ("secret", 0),
    ("telemetry", 0),
    ("tlog", 1),
    ("audit", 1),
    ("ct", 1),
    ("oidc", 10),
    ("x509", 10),
    ("identity", 20),
    ("keys", 20),
    ("proof", 30),
    ("log", 30),
    ("policy", 40),
    ("ca", 50),
    ("issue", 60),
    ("trust", 60),
    ("api", 70),
    ("config", 80),
    ("serve", 90),
    ("cli", 100),
];

#[test]
fn every_module_uses_only_lower_layers() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let layers: BTreeMap<&str, u32> = LAYERS.iter().copied().collect();
    let mut broken = Vec::new();
    let mut uses_seen = 0;
    for file in rust_files(&source) {
        let module = module_of(&source, &file);
        if module == "lib" || module == "main" {
            continue;
        }
        let layer = *layers.get(module.as_str()).unwrap_or_else(|| panic!("no layer: {module}"));
        let text = fs::read_to_string(&file).unwrap();
        for (line, used) in used_modules(&text) {
            uses_seen += 1;
            if used == module {
                continue;
            }
            let used_layer =
                *layers.get(used.as_str()).unwrap_or_else(|| panic!("{file:?}:{line}: {used}?"));
            if used_layer >= layer {
                broken.push(format!("{}:{line}: {module} uses {used}", file.display()));
            }
        }
    }
    assert!(uses_seen > 50, "the reader of `use` lines found only {uses_seen}: is it broken?");
    assert!(broken.is_empty(), "layers crossed:\n{}", broken.join("\n"));
}

#[test]
fn every_module_of_the_library_has_a_layer() {
    let library = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs"));
    let library = library.unwrap();
    let modules: Vec<&str> = library
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub mod "))
        .map(|name| name.trim_end_matches(';'))
        .collect();
    assert!(modules.len() > 15);
    for module in modules {
        assert!(LAYERS.iter().any(|(name, _)| *name == module), "{module} has no layer");
    }
}

#[test]
fn the_reader_of_uses_sees_nested_and_inline_paths() {
    let text =
        "use crate::{\n    a::{x, y},\n    b,\n};\nfn f() { crate::c::d() }\n// crate::not\n";
    let used: Vec<String> = used_modules(text).into_iter().map(|(_, used)| used).collect();
    assert_eq!(used, ["a", "b", "c"]);
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The first component below `src/`; the tests beside a file belong to its module.
fn module_of(source: &Path, file: &Path) -> String {
    let relative = file.strip_prefix(source).unwrap();
    let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").trim_end_matches("_tests").to_owned()
}

/// The modules that follow `crate::`, with the line they stand on. Test code below
/// `#[cfg(test)]` counts too: it shall not reach upwards either.
fn used_modules(text: &str) -> Vec<(usize, String)> {
    let code: String = text
        .lines()
        .map(|line| if line.trim_start().starts_with("//") { "" } else { line })
        .flat_map(|line| [line, "\n"])
        .collect();
    let mut used = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => used.extend(group_heads(group).into_iter().map(|name| (line, name))),
            None => used.push((line, identifier(rest))),
        }
    }
    used
}

/// `a::{x, y}, b}` gives `a` and `b`.
fn group_heads(group: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let mut depth = 0;
    let mut at_head = true;
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => return heads,
            '}' => depth -= 1,
            ',' if depth == 0 => at_head = true,
            character if depth == 0 && at_head && character.is_alphabetic() => {
                heads.push(identifier(&group[at..]));
                at_head = false;
            }
            _ => {}
        }
    }
    heads
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect()
}
