"""Rust: projects carry the runtime crate that their main function serves them with."""
