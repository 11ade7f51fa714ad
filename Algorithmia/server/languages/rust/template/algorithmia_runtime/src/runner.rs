//! The documented protocol: requests as lines on standard input, answers into a FIFO.

use crate::json::Json;
use crate::values::{FromInput, Input, IntoAnswer, Output};
use crate::{base64, error, panics};
use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::fs::OpenOptions;
use std::io::{self, BufRead, Write};
use std::path::Path;
use std::process;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Answers every call with `apply`; returns when there are no more.
pub fn serve<I: FromInput, O: IntoAnswer>(mut apply: impl FnMut(I) -> O) {
    serve_loaded(
        || Ok::<(), String>(()),
        move |input, _: &mut ()| apply(input),
    )
}

/// Runs `load` once, then answers every call with `apply`, which is given what `load` made.
pub fn serve_loaded<S, E, I, O>(
    load: impl FnOnce() -> Result<S, E>,
    mut apply: impl FnMut(I, &mut S) -> O,
) where
    E: Into<Box<dyn Error>>,
    I: FromInput,
    O: IntoAnswer,
{
    panics::install();
    let mut state = match panics::catch(load) {
        Ok(Ok(state)) => state,
        Ok(Err(failure)) => {
            let (message, _, trace) = error::describe(&*failure.into());
            refuse(&message, trace.as_ref().unwrap_or(&message).clone())
        }
        Err((message, trace)) => refuse(&message, trace),
    };
    println!("PIPE_INIT_COMPLETE");
    flush();
    let mut requests = io::stdin().lock();
    loop {
        let mut line = Vec::new();
        match requests.read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let answer = match read(&line) {
            Ok(input) => call(input, &mut state, &mut apply),
            Err(problem) => failure(&problem, "ParsingError", None),
        };
        flush();
        if let Err(problem) = answer_with(&answer) {
            eprintln!("the answer can't be written: {problem}");
            process::exit(1);
        }
    }
}

fn refuse(message: &str, trace: String) -> ! {
    eprintln!("{trace}");
    flush();
    let answer = failure(message, "LoadingError", Some(trace));
    // For whoever listens already: opening a FIFO waits for a reader, and this must not.
    let (written, is_written) = mpsc::channel();
    thread::spawn(move || written.send(answer_with(&answer).is_ok()));
    let _ = is_written.recv_timeout(Duration::from_secs(1));
    process::exit(1)
}

fn flush() {
    let _ = io::stdout().flush();
    let _ = io::stderr().flush();
}

fn read(line: &[u8]) -> Result<Input, String> {
    let text =
        std::str::from_utf8(line).map_err(|error| format!("the request is not UTF-8: {error}"))?;
    let mut request = match Json::parse(text)? {
        Json::Object(fields) => fields,
        other => return Err(format!("the request is {}, not an object", other.kind())),
    };
    let data = request.remove("data").ok_or("the request has no data")?;
    match (request.get("content_type").and_then(Json::as_str), data) {
        (Some("json"), value) => Ok(Input::Json(value)),
        (Some("text"), Json::String(text)) => Ok(Input::Text(text)),
        (Some("binary"), Json::String(text)) => base64::decode(&text)
            .map(Input::Binary)
            .map_err(|problem| format!("the data can't be decoded: {problem}")),
        (Some(other), data) => Err(format!(
            "data of content type {other} can't be {}",
            data.kind()
        )),
        (None, _) => Err("the request has no content_type".to_string()),
    }
}

fn call<S, I: FromInput, O: IntoAnswer>(
    input: Input,
    state: &mut S,
    apply: &mut impl FnMut(I, &mut S) -> O,
) -> String {
    let input = match panics::catch(|| I::from_input(input)) {
        Ok(Ok(input)) => input,
        Ok(Err(problem)) => return failure(&problem, "InputError", None),
        Err((message, trace)) => return failure(&message, "InputError", Some(trace)),
    };
    match panics::catch(|| apply(input, state).into_answer()) {
        Ok(Ok(output)) => {
            success(output).unwrap_or_else(|problem| failure(&problem, "AlgorithmError", None))
        }
        Ok(Err(problem)) => {
            let (message, error_type, trace) = error::describe(&*problem);
            failure(&message, &error_type, trace)
        }
        Err((message, trace)) => failure(&message, "AlgorithmError", Some(trace)),
    }
}

fn success(output: Output) -> Result<String, String> {
    let (content_type, result) = match output {
        Output::Text(text) => ("text", Json::String(text)),
        Output::Json(value) => ("json", value),
        Output::Binary(bytes) => ("binary", Json::String(base64::encode(&bytes))),
    };
    Ok(format!(
        "{{\"result\":{},\"metadata\":{{\"content_type\":\"{content_type}\"}}}}",
        result.write()?
    ))
}

fn failure(message: &str, error_type: &str, trace: Option<String>) -> String {
    let mut fields = BTreeMap::new();
    fields.insert("message".to_string(), Json::String(message.to_string()));
    fields.insert(
        "error_type".to_string(),
        Json::String(error_type.to_string()),
    );
    if let Some(trace) = trace {
        fields.insert("stacktrace".to_string(), Json::String(trace));
    }
    format!(
        "{{\"error\":{}}}",
        Json::Object(fields).write().unwrap_or_default()
    )
}

fn answer_with(answer: &str) -> io::Result<()> {
    let named = env::var_os("ALGORITHMIA_OUTPUT_FIFO").filter(|name| !name.is_empty());
    let path = named.unwrap_or_else(|| "/tmp/algoout".into());
    if !Path::new(&path).exists() {
        // On the author's machine: a person reads the answer.
        println!("{answer}");
        return Ok(());
    }
    let mut fifo = OpenOptions::new().write(true).open(path)?;
    fifo.write_all(answer.as_bytes())?;
    fifo.write_all(b"\n")
}
