/// One row of the table of Fulcio extensions, 1.3.6.1.4.1.57264.1.N.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExtensionField {
    Issuer,
    GithubWorkflowTrigger,
    GithubWorkflowSha,
    GithubWorkflowName,
    GithubWorkflowRepository,
    GithubWorkflowRef,
    // ... up to 1.24; Issuer is written twice: 1.1 raw and 1.8 UTF8String
}

/// The values a certificate carries, at most one per field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FulcioExtensions {}

impl FulcioExtensions {
    pub fn set(&mut self, _field: ExtensionField, _value: String) {
        todo!()
    }
    pub fn value(&self, _field: ExtensionField) -> Option<&str> {
        todo!()
    }
}
