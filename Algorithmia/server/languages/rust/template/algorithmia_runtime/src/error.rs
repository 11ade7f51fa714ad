//! Errors with a type that callers see.

use std::error::Error;
use std::fmt;
use std::panic::Location;

/// An error that says its `error_type`, and where it was made.
#[derive(Debug, Clone)]
pub struct AlgorithmError {
    pub message: String,
    pub error_type: String,
    pub location: String,
}

impl AlgorithmError {
    #[track_caller]
    pub fn new(message: impl Into<String>) -> Self {
        Self::typed(message, "AlgorithmError")
    }

    #[track_caller]
    pub fn typed(message: impl Into<String>, error_type: impl Into<String>) -> Self {
        AlgorithmError {
            message: message.into(),
            error_type: error_type.into(),
            location: Location::caller().to_string(),
        }
    }
}

impl fmt::Display for AlgorithmError {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl Error for AlgorithmError {}

/// Message, type and trace of any error.
pub(crate) fn describe(error: &(dyn Error + 'static)) -> (String, String, Option<String>) {
    let mut trace = Vec::new();
    let mut error_type = "AlgorithmError".to_string();
    let mut next = Some(error);
    while let Some(one) = next {
        let prefix = if trace.is_empty() { "" } else { "caused by: " };
        trace.push(format!("{prefix}{one}"));
        if let Some(own) = one.downcast_ref::<AlgorithmError>() {
            trace.push(format!("   at {}", own.location));
            if trace.len() == 2 {
                error_type = own.error_type.clone();
            }
        }
        next = one.source();
    }
    let trace = if trace.len() > 1 {
        Some(trace.join("\n"))
    } else {
        None
    };
    (error.to_string(), error_type, trace)
}
