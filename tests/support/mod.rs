//! What the end-to-end tests stand on: peers to start, Mayfly to start, clients and judges to run.
//!
//! In: nothing but what tests/run installed. Out: values whose processes end with them.
pub(crate) mod aws;
pub(crate) mod clients;
pub(crate) mod fault_proxy;
pub(crate) mod http;
pub(crate) mod issuers;
pub(crate) mod kryoptic;
pub(crate) mod mayfly;
pub(crate) mod peers;
pub(crate) mod process;
pub(crate) mod softhsm;
pub(crate) mod tpm;
