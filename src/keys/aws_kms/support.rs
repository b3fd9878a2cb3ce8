//! What the end-to-end tests stand on, for the tests of this module.
#[path = "../../../tests/support/aws.rs"]
pub(super) mod aws;
#[path = "../../../tests/support/http.rs"]
mod http;
#[path = "../../../tests/support/peers.rs"]
mod peers;
#[path = "../../../tests/support/process.rs"]
mod process;
