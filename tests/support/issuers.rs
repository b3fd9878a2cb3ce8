//! Issuer files for the providers of [`super::peers`].

/// One issuer whose tokens speak for e-mail addresses.
pub(crate) fn email(url: &str) -> String {
    format!(
        "oidc-issuers:\n  \
           {url}:\n    \
             issuer-url: {url}\n    \
             client-id: sigstore\n    \
             type: email\n"
    )
}

/// One issuer of CI tokens, with a template for each extension a CI system can fill.
pub(crate) fn ci(url: &str) -> String {
    CI.replace("ISSUER", url)
}

/// The claims are those of GitHub's tokens; every construct of a template has its place.
const CI: &str = r#"
oidc-issuers:
  ISSUER:
    issuer-url: ISSUER
    client-id: sigstore
    type: ci-provider
    ci-provider: forge
ci-issuer-metadata:
  forge:
    default-template-values:
      url: https://forge.example.com
      environment: none
    extension-templates:
      github-workflow-trigger: event_name
      github-workflow-sha: sha
      github-workflow-name: workflow
      github-workflow-repository: repository
      github-workflow-ref: ref
      build-signer-uri: "{{ .url }}/{{ .job_workflow_ref }}"
      build-signer-digest: job_workflow_sha
      runner-environment: '{{ if eq .runner_environment "hosted" }}forge-hosted{{ else }}own{{end}}'
      source-repository-uri: "{{ .url }}/{{ .repository }}"
      source-repository-digest: sha
      source-repository-ref: ref
      source-repository-identifier: repository_id
      source-repository-owner-uri: '{{ .url }}/{{ index . "forge.example.com/owner" }}'
      source-repository-owner-identifier: repository_owner_id
      build-config-uri: "{{ .url }}/{{ .workflow_ref }}"
      build-config-digest: workflow_sha
      build-trigger: event_name
      run-invocation-uri: "{{.url}}/{{.repository}}/runs/{{.run_id}}/attempts/{{.run_attempt}}"
      source-repository-visibility-at-signing: repository_visibility
      deployment-environment: environment
    subject-alternative-name-template: "{{ .url }}/{{ .job_workflow_ref }}"
"#;
