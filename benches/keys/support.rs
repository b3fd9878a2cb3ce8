//! The peers of the tests.
#[path = "../../tests/support/aws.rs"]
pub(crate) mod aws;
#[path = "../../tests/support/http.rs"]
mod http;
#[path = "../../tests/support/peers.rs"]
mod peers;
#[path = "../../tests/support/process.rs"]
mod process;
#[path = "../../tests/support/softhsm.rs"]
pub(crate) mod softhsm;
