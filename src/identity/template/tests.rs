use std::collections::HashMap;

use super::*;

struct Map(HashMap<&'static str, &'static str>);

impl Values for Map {
    fn value(&self, name: &str) -> Result<String, IdentityError> {
        let value = self.0.get(name).map(|value| (*value).to_owned());
        value.ok_or_else(|| IdentityError::MissingClaim { claim: name.to_owned() })
    }
}

fn render(
    template: &str,
    values: &[(&'static str, &'static str)],
) -> Result<String, IdentityError> {
    let values = Map(values.iter().copied().collect());
    let mut rendered = String::new();
    Template::parse(template).expect(template).render(&values, &mut |piece| {
        match piece {
            Piece::Text(text) => rendered.push_str(text),
            Piece::Value { value, .. } => rendered.push_str(&value),
        }
        Ok(())
    })?;
    Ok(rendered)
}

#[test]
fn every_construct_of_the_subset_renders() {
    let values = [("a", "1"), ("x/y-z", "2"), ("kind", "branch")];
    for (template, expected) in [
        ("a", "1"),
        ("{{ .a }}", "1"),
        ("{{.a}}", "1"),
        ("p{{ .a }}q{{.a}}r", "p1q1r"),
        ("{{ index . \"x/y-z\" }}", "2"),
        ("{{(index . \"x/y-z\")}}", "2"),
        ("{{ ( index . \"x/y-z\" ) }}", "2"),
        ("refs/{{if eq .kind \"branch\"}}heads/{{ else }}tags/{{end}}{{ .a }}", "refs/heads/1"),
        ("refs/{{if eq .kind \"tag\"}}tags/{{ .b }}{{ else }}heads/{{end}}", "refs/heads/"),
        ("{{if eq (index . \"x/y-z\") \"2\"}}yes{{ else }}\"\"{{end}}", "yes"),
        ("{{if eq (index . \"x/y-z\") \"3\"}}yes{{ else }}\"\"{{end}}", "\"\""),
        ("{{ .a }} }} literal", "1 }} literal"),
    ] {
        assert_eq!(render(template, &values).as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn a_bare_name_with_slashes_is_a_claim_name() {
    assert_eq!(render("x/y", &[("x/y", "v")]).as_deref(), Ok("v"));
}

#[test]
fn nt_35_a_missing_claim_is_refused_and_never_rendered_as_nothing() {
    for template in
        ["gone", "a{{ .gone }}", "{{index . \"gone\"}}", "{{if eq .gone \"x\"}}a{{else}}b{{end}}"]
    {
        let refused = render(template, &[("a", "1")]);
        assert_eq!(refused, Err(IdentityError::MissingClaim { claim: "gone".to_owned() }));
    }
}

#[test]
fn a_claim_of_the_branch_not_taken_may_be_missing() {
    let template = "{{if eq .k \"x\"}}{{ .gone }}{{ else }}fine{{ end }}";
    assert_eq!(render(template, &[("k", "y")]).as_deref(), Ok("fine"));
}

#[test]
fn nt_35_a_value_is_never_read_as_template_or_markup() {
    for hostile in ["{{ .secret }}", "}}{{", "a&b<c>\"'", "${x} %s {{if", "\\n"] {
        let rendered = render("[{{ .a }}]", &[("a", hostile), ("secret", "s")]);
        assert_eq!(rendered, Ok(format!("[{hostile}]")));
    }
}

#[test]
fn everything_outside_the_subset_is_refused_at_load_with_its_position() {
    let unsupported = TemplateFault::Unsupported;
    for (template, at, fault) in [
        ("", 1, TemplateFault::Empty),
        ("  ", 1, TemplateFault::Empty),
        ("two words", 4, TemplateFault::ClaimName),
        ("{ .a }", 1, TemplateFault::ClaimName),
        ("ab{{ .a", 3, TemplateFault::Unclosed),
        ("ä{{- .a }}", 2, TemplateFault::TrimMarker),
        ("{{ .a -}}", 1, TemplateFault::TrimMarker),
        ("{{ a }}", 1, unsupported.clone()),
        ("{{ . }}", 1, unsupported.clone()),
        ("{{ .a.b }}", 1, unsupported.clone()),
        ("{{ $.a }}", 1, unsupported.clone()),
        ("{{ .a | html }}", 1, unsupported.clone()),
        ("{{ printf \"%s\" .a }}", 1, unsupported.clone()),
        ("{{ range .a }}x{{ end }}", 1, unsupported.clone()),
        ("{{ with .a }}x{{ end }}", 1, unsupported.clone()),
        ("{{ $x := .a }}", 1, unsupported.clone()),
        ("{{/* comment */}}", 1, unsupported.clone()),
        ("{{ \"text\" }}", 1, unsupported.clone()),
        ("{{ index . `a` }}", 1, unsupported.clone()),
        ("{{ index . \"a\\n\" }}", 1, unsupported.clone()),
        ("{{ index . \"\" }}", 1, unsupported.clone()),
        ("{{ index .a \"b\" }}", 1, unsupported.clone()),
        ("{{ (index . \"a\" }}", 1, unsupported.clone()),
        ("{{ .1a }}", 1, unsupported.clone()),
        ("{{ .a-b }}", 1, unsupported.clone()),
        ("{{ if .a }}x{{ end }}", 1, unsupported.clone()),
        ("{{ if ne .a \"b\" }}x{{ else }}{{ end }}", 1, unsupported.clone()),
        ("{{ if eq .a \"b\" \"c\" }}x{{ else }}{{ end }}", 1, unsupported.clone()),
        ("{{ if eq .a .b }}x{{ else }}{{ end }}", 1, unsupported.clone()),
        ("{{ else if eq .a \"b\" }}", 1, unsupported),
        ("x{{ else }}", 2, TemplateFault::Stray { word: "else" }),
        ("x{{ end }}", 2, TemplateFault::Stray { word: "end" }),
        ("{{if eq .a \"b\"}}x", 18, TemplateFault::IfWithout { word: "end" }),
        ("{{if eq .a \"b\"}}x{{end}}", 18, TemplateFault::IfWithout { word: "else" }),
        ("{{if eq .a \"b\"}}x{{else}}y{{else}}z{{end}}", 27, TemplateFault::Stray { word: "else" }),
        ("{{if eq .a \"b\"}}{{if eq .a \"b\"}}", 17, TemplateFault::NestedIf),
    ] {
        assert_eq!(Template::parse(template), Err(TemplateError { at, fault }), "{template}");
    }
}

/// Found by fuzzing: where a fault would stand was counted at each `else` and `end`, so that this
/// took minutes.
#[test]
fn nt_07_a_mebibyte_of_choices_is_read_in_one_pass() {
    let choice = "{{ if eq .a \"b\" }}{{ else }}{{ end }}";
    let text = choice.repeat((1 << 20) / choice.len());
    assert_eq!(Template::parse(&text).unwrap().parts.len(), (1 << 20) / choice.len());
    let at = text.len() + 1;
    let stray = TemplateFault::Stray { word: "end" };
    assert_eq!(Template::parse(&(text + "{{ end }}")), Err(TemplateError { at, fault: stray }));
}

proptest::proptest! {
    #[test]
    fn no_template_text_panics(text in "[{}. ifeqndlsax()\"/-]{0,40}") {
        let _outcome = Template::parse(&text);
    }
}
