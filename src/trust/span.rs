//! From when to when something is to be trusted.

use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::time::Timestamp;

/// `validFor` of the trust documents; both ends are inclusive. The start is always written:
/// clients must refuse a log without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first second.
    pub start: Timestamp,
    /// The last second; `None`: until further notice.
    pub end: Option<Timestamp>,
}

/// Whole seconds in RFC 3339, as protobuf's JSON wants them.
impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let second = |at: Timestamp| Timestamp::from_unix_seconds(at.unix_seconds()).to_string();
        let fields = 1 + usize::from(self.end.is_some());
        let mut span = serializer.serialize_struct("Span", fields)?;
        span.serialize_field("start", &second(self.start))?;
        if let Some(end) = self.end {
            span.serialize_field("end", &second(end))?;
        }
        span.end()
    }
}
