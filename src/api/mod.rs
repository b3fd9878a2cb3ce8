//! Adapters: wire bytes in, [`crate::issue::Request`] out; [`crate::ca::Issued`] in, wire bytes
//! out. They decide nothing.

mod body;
mod entry;
mod grpc;
pub mod http;
pub mod status;
