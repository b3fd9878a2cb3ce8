//! What the tests of the log share.
