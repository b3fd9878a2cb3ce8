/// The one GeneralName of a leaf.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SubjectAltName {
    /// rfc822Name; checked ASCII mailbox.
    Email(String),
    /// uniformResourceIdentifier; checked ASCII absolute URI.
    Uri(String),
    /// otherName 1.3.6.1.4.1.57264.1.7, UTF8String `sub!SubjectDomain`.
    Username(String),
}
// makers (email(), uri(), username()) validate and return Result; make the variants unconstructible outside
