//! Wildcard issuers.
//!
//! In: a pattern of the issuer file. Out: whether an `iss` matches it, whether two patterns can
//! match the same `iss`. Knows nothing of settings and keys.

use std::collections::HashSet;

use regex::Regex;

/// A pattern in which each `*` stands for one or more of `-`, `_`, letters and digits. It therefore
/// never crosses `.`, `/`, `:`, `@`, `?` or `#`, and the regular expression is anchored at both ends
/// (CVE-2026-22772 was one that was not).
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    /// Reads a pattern `https://host/path`, in which `*` may stand in the path and in the host but
    /// not in its last two labels: those say whose names they are.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let rest = text.strip_prefix("https://").ok_or("a pattern begins with https://")?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.~/*:".contains(c);
        if !rest.chars().all(allowed) {
            return Err("a pattern contains letters, digits and - _ . ~ / : * only");
        }
        let authority = rest.split('/').next().unwrap_or_default();
        let (host, port) = authority.split_once(':').unwrap_or((authority, "443"));
        if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err("the port of a pattern is a number");
        }
        let labels: Vec<&str> = host.split('.').collect();
        if labels.len() < 2 || labels.iter().any(|label| label.is_empty()) {
            return Err("the host of a pattern has at least two labels, none of them empty");
        }
        if labels.iter().rev().take(2).any(|label| label.contains('*')) {
            return Err("the last two labels of a pattern's host are written out");
        }
        if labels.iter().all(|label| label.bytes().all(|b| b.is_ascii_digit() || b == b'*')) {
            return Err("the host of a pattern is a name, not an address");
        }
        let dots = |segment: &str| segment == "." || segment == "..";
        if text.contains("**") || rest.split('/').any(dots) {
            return Err("a pattern contains neither ** nor the path segments . and ..");
        }
        let parts: Vec<String> = text.split('*').map(regex::escape).collect();
        let regex = Regex::new(&format!(r"\A{}\z", parts.join("[-_a-zA-Z0-9]+")));
        let regex = regex.map_err(|_| "the pattern is too long")?;
        Ok(Self { text: text.to_owned(), regex })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn matches(&self, issuer: &str) -> bool {
        self.regex.is_match(issuer)
    }

    /// Whether some text matches both: a walk over the product of the two automata, which have one
    /// state per character.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let (left, right) = (self.steps(), other.steps());
        let mut seen = HashSet::new();
        let mut waiting = vec![(0, 0)];
        while let Some((i, j)) = waiting.pop() {
            if !seen.insert((i, j)) {
                continue;
            }
            let (a, b) = (left.get(i), right.get(j));
            if a.is_none() && b.is_none() {
                return true;
            }
            // A loop may end here, having read nothing more.
            if a == Some(&Step::Loop) {
                waiting.push((i + 1, j));
            }
            if b == Some(&Step::Loop) {
                waiting.push((i, j + 1));
            }
            if let (Some(a), Some(b)) = (a, b)
                && a.shares_a_character_with(*b)
            {
                waiting.push((a.next(i), b.next(j)));
            }
        }
        false
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for c in self.text.chars() {
            if c == '*' {
                steps.extend([Step::OneOf, Step::Loop]);
            } else {
                steps.push(Step::Exactly(c));
            }
        }
        steps
    }
}

/// A state of the automaton of a pattern: what it reads next. `*` is one character of its class,
/// then a loop of more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Exactly(char),
    OneOf,
    Loop,
}

impl Step {
    fn shares_a_character_with(self, other: Self) -> bool {
        let in_class = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        match (self, other) {
            (Self::Exactly(a), Self::Exactly(b)) => a == b,
            (Self::Exactly(c), _) | (_, Self::Exactly(c)) => in_class(c),
            _ => true,
        }
    }

    fn next(self, index: usize) -> usize {
        if self == Self::Loop { index } else { index + 1 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EKS: &str = "https://oidc.eks.*.amazonaws.com/id/*";

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).expect(text)
    }

    #[test]
    fn a_pattern_matches_what_it_means() {
        assert!(
            pattern(EKS).matches("https://oidc.eks.us-west-2.amazonaws.com/id/B02C93B6A2D30341")
        );
        assert!(pattern("https://a.example/*/").matches("https://a.example/x_Y-9/"));
        assert!(!pattern("https://a.example/*/").matches("https://a.example/x"));
        assert!(!pattern("https://a.example/*").matches("https://a.example/"));
    }

    #[test]
    fn nt_10_texts_around_a_match_do_not_match() {
        for issuer in [
            "http://169.254.169.254/?https://oidc.eks.a.amazonaws.com/id/b",
            "https://evil.com/https://oidc.eks.a.amazonaws.com/id/b",
            "https://oidc.eks.a.amazonaws.com.evil.com/id/b",
            "https://user@oidc.eks.a.amazonaws.com/id/b",
            "https://oidc.eks.a@evil.amazonaws.com/id/b",
            "https://oidc.eks.a.amazonaws.com/id/b#",
            "https://oidc.eks.a.amazonaws.com/id/b?c",
            "https://oidc.eks.a.amazonaws.com/id%2fb",
            "https://oidc.eks.a.amazonaws.com/id/b%2fc",
            "https://oidc.eks.a.amazonaws.com/id/..",
            "https://oidc.eks.a.amazonaws.com/id/../id/b",
            "https://oidc.eks.a.amazonaws.com/id/b\n",
            "\nhttps://oidc.eks.a.amazonaws.com/id/b",
            "https://evil.com\nhttps://oidc.eks.a.amazonaws.com/id/b",
            "https://oidc.eks.a.amazonaws.com/id/b/",
            "https://oidc.eks.a.amazonaws.com./id/b",
            "https://oidc.eks.a.amazonaws.com:443/id/b",
            "https://OIDC.eks.a.amazonaws.com/id/b",
            "HTTPS://oidc.eks.a.amazonaws.com/id/b",
            "https://oidc.eks.a.amazonaws.com/id/b ",
            "https://oidc.eks.a.amazonaws.com/id/b\0",
            "https:\\\\oidc.eks.a.amazonaws.com/id/b",
        ] {
            assert!(!pattern(EKS).matches(issuer), "{issuer:?}");
        }
    }

    #[test]
    fn nt_11_a_star_is_neither_a_dot_nor_a_slash_nor_itself_nor_another_alphabet() {
        for issuer in [
            "https://oidc.eks.a.b.amazonaws.com/id/b",
            "https://oidc.eks..amazonaws.com/id/b",
            "https://oidc.eks.evil.com/x.amazonaws.com/id/b",
            "https://oidc.eks.a.amazonaws.com/id/b/c",
            "https://oidc.eks.a.amazonaws.com/id/b.c",
            "https://oidc.eks.*.amazonaws.com/id/*",
            "https://oidc.eks.[::1].amazonaws.com/id/b",
            "https://oidc.eks.\u{430}.amazonaws.com/id/b",
            "https://oidc.eks.a.amazonaws.com/id/\u{ff42}",
            "https://oidc.eks.a.amazonaws.com/id/",
        ] {
            assert!(!pattern(EKS).matches(issuer), "{issuer:?}");
        }
    }

    #[test]
    fn nt_11_patterns_that_let_a_token_choose_the_host_are_refused() {
        for text in [
            "*",
            "https://*",
            "https://*/x",
            "https://*.com/x",
            "https://a.*.com",
            "https://a.example.*",
            "https://a.exa*mple.com",
            "http://*.example.com",
            "*://a.example.com",
            "https*://a.example.com",
            "https://user@*.example.com",
            "https://*.example.com:*/",
            "https://*.example.com:/",
            "https://*.example.com/?*",
            "https://*.example.com/#*",
            "https://*.example.com/%2a*",
            "https://*.example.com/../*",
            "https://*.example.com/**",
            "https://*..example.com/",
            "https://*.example.com./",
            "https://*.0.0.1/",
            "https://localhost/*",
            "https://[::1]/*",
            "https://b\u{fc}cher.example.com/*",
            "https://a.example.com/* ",
        ] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn nt_38_overlap_is_exact() {
        let apart = [
            ("https://a.example/*", "https://a.example/*/"),
            ("https://a.example/*", "https://a.example/*/*"),
            ("https://a.example/*/*", "https://a.example/*/*/"),
            ("https://*.a.example/*/*", "https://a.example/*/*"),
            ("https://a.example/x*", "https://a.example/y*"),
            ("https://a.example/*x", "https://a.example/*y"),
            ("https://a.example/*.x", "https://a.example/*"),
        ];
        for (left, right) in apart {
            assert!(!pattern(left).overlaps(&pattern(right)), "{left} {right}");
            assert!(!pattern(right).overlaps(&pattern(left)), "{left} {right}");
        }
        let together = [
            ("https://a.example/*", "https://a.example/*"),
            ("https://a.example/*", "https://a.example/x-*"),
            ("https://a.example/x*", "https://a.example/*y"),
            ("https://*.a.example/x/*", "https://b.a.example/*/y"),
            ("https://a.example/*x*", "https://a.example/y*z"),
            ("https://a.example/*", "https://a.example/b"),
        ];
        for (left, right) in together {
            assert!(pattern(left).overlaps(&pattern(right)), "{left} {right}");
            assert!(pattern(right).overlaps(&pattern(left)), "{left} {right}");
        }
    }

    proptest! {
        /// Two patterns that one text matches overlap: the walk misses nothing.
        #[test]
        fn nt_38_patterns_with_a_common_match_overlap(
            left in "https://a\\.example/[ab*/]{1,5}",
            right in "https://a\\.example/[ab*/]{1,5}",
            path in "[ab/]{1,5}",
        ) {
            let (Ok(left), Ok(right)) = (Pattern::parse(&left), Pattern::parse(&right)) else {
                return Ok(());
            };
            let text = format!("https://a.example/{path}");
            if left.matches(&text) && right.matches(&text) {
                prop_assert!(left.overlaps(&right));
            }
        }
    }
}
