//! __ALGO__

/// Runs for every call.
pub fn apply(input: String) -> String {
    format!("hello {input}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn says_hello() {
        assert_eq!(super::apply("world".to_string()), "hello world");
    }
}
