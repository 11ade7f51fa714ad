//! Panics as errors: their message, and the author's part of their stack.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};

thread_local! {
    // None while no call runs on this thread: panics are then printed as usual.
    static CAUGHT: RefCell<Option<(String, String)>> = RefCell::new(None);
}

/// Runs `work`; message and trace of its panic.
pub fn catch<T>(work: impl FnOnce() -> T) -> Result<T, (String, String)> {
    CAUGHT.with(|caught| *caught.borrow_mut() = Some(Default::default()));
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| __rust_begin_short_backtrace(work)));
    let caught = CAUGHT
        .with(|caught| caught.borrow_mut().take())
        .unwrap_or_default();
    outcome.map_err(|_| caught)
}

/// Frames below this one are the runner's; known by this name to the standard library too.
#[inline(never)]
fn __rust_begin_short_backtrace<T>(work: impl FnOnce() -> T) -> T {
    let result = work();
    // Something left to do: otherwise the call above takes this frame's place.
    CAUGHT.with(|_| ());
    result
}

/// Makes panics of calls collect what `catch` returns.
pub fn install() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |panicked| {
        let payload = panicked.payload();
        let message = payload
            .downcast_ref::<&str>()
            .map(|text| text.to_string())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "the algorithm panicked".to_string());
        let place = panicked
            .location()
            .map(|place| place.to_string())
            .unwrap_or_default();
        let trace = format!("panicked at {place}: {message}\n{}", stack());
        let is_caught = CAUGHT.with(|caught| match caught.borrow_mut().as_mut() {
            Some(slot) => {
                *slot = (message, trace.trim_end().to_string());
                true
            }
            None => false,
        });
        if !is_caught {
            usual(panicked);
        }
    }));
}

#[cfg(not(algorithmia_backtrace))]
fn stack() -> String {
    String::new()
}

#[cfg(algorithmia_backtrace)]
fn stack() -> String {
    let full = std::backtrace::Backtrace::force_capture().to_string();
    let mut frames: Vec<Vec<&str>> = Vec::new();
    for line in full.lines() {
        let is_location = line.trim_start().starts_with("at ");
        match frames.last_mut() {
            Some(frame) if is_location => frame.push(line),
            _ => frames.push(vec![line]),
        }
    }
    let end = frames
        .iter()
        .position(|frame| frame[0].contains("__rust_begin_short_backtrace"))
        .unwrap_or(frames.len());
    let is_machinery = |frame: &Vec<&str>| {
        [
            "core::panicking::",
            "rust_begin_unwind",
            "std::panicking::begin_panic",
        ]
        .iter()
        .any(|name| frame[0].contains(name))
    };
    let begin = frames[..end]
        .iter()
        .rposition(is_machinery)
        .map_or(0, |index| index + 1);
    // What lies between the author's function and this crate is the language's own calling of it.
    frames[begin..end]
        .iter()
        .filter(|frame| !frame[0].contains("algorithmia_runtime::"))
        .flatten()
        .fold(String::new(), |text, line| text + line + "\n")
}
