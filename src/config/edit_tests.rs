use proptest::prelude::*;

use super::*;

const AT: Timestamp = Timestamp::from_unix_seconds(1_811_808_000);
const RETIRES: Retirement = Retirement { position: 1, at: AT };

fn next() -> NextAuthority {
    let (key, chain) = ("file:next.key".to_owned(), "next.pem".to_owned());
    NextAuthority { key, passphrase: None, chain, activate: AT }
}

/// The lines that are new, each with the one before it; every other line is as it was.
fn added<'t>(before: &'t str, after: &'t str) -> Vec<(Option<&'t str>, &'t str)> {
    let mut old = before.split_inclusive('\n').peekable();
    let mut added = Vec::new();
    let mut last = None;
    for line in after.split_inclusive('\n') {
        if old.peek() == Some(&line) {
            old.next();
        } else {
            added.push((last, line));
        }
        last = Some(line);
    }
    assert_eq!(old.next(), None, "a line is gone: {after}");
    added
}

#[test]
fn an_authority_is_added_after_the_last_and_the_one_before_it_retires() {
    let text = "\
# first
listen: 127.0.0.1:5555   # why
authorities:   # issuing CAs
  # the one of 2026
  - key: file:old.key  # on disk
    chain: 'old.pem'   # with its root

# the log
log: none
";
    let changed = add_authority(text, &next(), Some(RETIRES)).unwrap();
    let chain = "    chain: 'old.pem'   # with its root\n";
    assert_eq!(
        added(text, &changed),
        [
            (Some(chain), "    retire: 2027-06-01T00:00:00Z\n"),
            (Some("    retire: 2027-06-01T00:00:00Z\n"), "  - key: file:next.key\n"),
            (Some("  - key: file:next.key\n"), "    chain: next.pem\n"),
            (Some("    chain: next.pem\n"), "    activate: 2027-06-01T00:00:00Z\n"),
        ]
    );
}

#[test]
fn the_layout_of_the_file_is_taken_up() {
    for (text, item) in [
        ("authorities:\n- key: a\n  chain: b\n", "- key: file:next.key\n  chain: next.pem\n"),
        (
            "authorities:\n    -   key: a\n        chain: b\n",
            "    -   key: file:next.key\n        chain: next.pem\n",
        ),
        (
            "authorities:\n- key: a\r\n  chain: b\r\n",
            "- key: file:next.key\r\n  chain: next.pem\r\n",
        ),
        ("authorities:\n- key: a\n  chain: b", "\n- key: file:next.key\n  chain: next.pem\n"),
        (
            "---\nauthorities:\n- chain: b\n  key: \"a\"\n...\n",
            "  key: \"a\"\n- key: file:next.key\n",
        ),
        (
            "authorities:\n- key: >-\n    a\n  chain: b\nx: y\n",
            "  chain: b\n- key: file:next.key\n  chain: next.pem\n",
        ),
    ] {
        let changed = add_authority(text, &next(), None).unwrap();
        assert!(changed.contains(item), "{changed}");
        assert_eq!(changed.ends_with('\n'), text.ends_with('\n'), "{changed:?}");
        let again = NextAuthority { key: "file:third.key".to_owned(), ..next() };
        let retires = Retirement { position: 2, at: AT };
        add_authority(&changed, &again, Some(retires)).unwrap();
    }
}

#[test]
fn what_might_mean_something_else_is_quoted() {
    for text in [
        "a b", "#x", "a #b", "a: b", "a:", "*x", "&x", "", "~", "{", "\"", "- a", "é", "a\nb: c",
        "null", "true", "12", ".inf",
    ] {
        assert!(scalar(text).starts_with('"'), "{text}");
        let chain = text.to_owned();
        let key = format!("file:{text}");
        let next = NextAuthority { key, passphrase: Some(chain.clone()), chain, activate: AT };
        add_authority("authorities:\n- key: a\n  chain: b\n", &next, None).unwrap();
    }
    let pkcs11 = "pkcs11:token=my%20token;object=ca?module-path=/usr/lib/softhsm/libsofthsm2.so";
    for text in [pkcs11, "../next.pem", "/etc/next.pem", "2027-06-01T00:00:00Z"] {
        assert_eq!(scalar(text), text);
    }
}

#[test]
fn what_is_written_in_another_way_is_left_alone() {
    for (text, error) in [
        ("", EditError::NotUnderstood),
        ("listen: x\n", EditError::NoAuthorities),
        ("authorities:\n", EditError::NoAuthorities),
        ("authorities: []\n", EditError::NoAuthorities),
        ("authorities: [{key: a, chain: b}]\n", EditError::NotBlockStyle),
        ("{\"authorities\": [{\"key\": \"a\", \"chain\": \"b\"}]}", EditError::NotBlockStyle),
        ("authorities:\n- {key: a, chain: b}\n", EditError::NotBlockStyle),
        ("authorities:\n- &a\n  key: a\n  chain: b\n", EditError::NotBlockStyle),
        ("x: &a\n- key: a\n  chain: b\nauthorities: *a\n", EditError::NotBlockStyle),
        ("authorities:\n- key: a\n  chain: |\n    b\nx: y\n", EditError::NotUnderstood),
    ] {
        assert_eq!(add_authority(text, &next(), None).unwrap_err(), error, "{text}");
    }
    let text = "authorities:\n- key: a\n  chain: b\n  retire: c\n";
    let twice = add_authority(text, &next(), Some(RETIRES));
    assert_eq!(twice.unwrap_err(), EditError::NotUnderstood, "no key stands twice");
    let beyond = Retirement { position: 2, at: AT };
    assert!(add_authority(text, &next(), Some(beyond)).is_err());
}

proptest! {
    /// Whatever a file looks like: it is refused, or lines are added and none is touched.
    #[test]
    fn no_byte_that_was_there_is_changed(
        indents in prop::collection::vec((0_usize..4, 1_usize..4), 1..4),
        comments in prop::collection::vec("[ #a-z:'\\-]{0,12}", 0..6),
        crlf in any::<bool>(),
        retires in any::<bool>(),
    ) {
        let mut comments = comments.into_iter().map(|text| format!("#{text}"));
        let mut comment = || comments.next().unwrap_or_default();
        let (dash, gap) = indents[0];
        let mut lines = vec![comment(), "listen: x".to_owned(), "authorities:".to_owned()];
        for (index, _) in indents.iter().enumerate() {
            let (before, after) = (" ".repeat(dash), " ".repeat(gap));
            lines.push(format!("{before}-{after}key: file:{index} {}", comment()));
            lines.push(format!("{before} {after}chain: c{index}"));
            lines.push(comment());
        }
        lines.push("log: none".to_owned());
        let text = lines.join(if crlf { "\r\n" } else { "\n" });
        let retires = retires.then_some(RETIRES);
        let changed = add_authority(&text, &next(), retires).unwrap();
        prop_assert_eq!(added(&text, &changed).len(), 3 + usize::from(retires.is_some()));
    }
}
