//! What algorithms in Rust are served with: the platform's protocol, JSON, input and output types.
//!
//! `serve(apply)` is the whole `main` of an algorithm; README.md of the project says which types `apply` may have.

// The platform sets this condition for compilers that have std::backtrace (1.65).
#![allow(unknown_lints, unexpected_cfgs)]

mod base64;
mod error;
mod json;
mod panics;
mod runner;
mod values;

pub use error::AlgorithmError;
pub use json::Json;
pub use runner::{serve, serve_loaded};
pub use values::{FromInput, FromJson, Input, IntoAnswer, Output, ToJson};
