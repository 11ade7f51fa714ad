//! JSON values, read strictly and written compactly.

use std::collections::BTreeMap;

const DEEPEST: usize = 1000;

/// A JSON value. Whole numbers stay whole as far as `i128` reaches.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    String(String),
    Array(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

impl Json {
    pub fn parse(text: &str) -> Result<Json, String> {
        let mut reader = Reader { text, position: 0 };
        let value = reader.value(0)?;
        reader.skip_space();
        if reader.position < text.len() {
            return reader.fail("more than one value");
        }
        Ok(value)
    }

    /// The value of an object's field.
    pub fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(fields) => fields.get(name),
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Json::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Json::Integer(number) => Some(*number as f64),
            Json::Float(number) => Some(*number),
            _ => None,
        }
    }

    pub fn as_array(&self) -> Option<&[Json]> {
        match self {
            Json::Array(items) => Some(items),
            _ => None,
        }
    }

    /// As text; an error if a number is infinite or not a number.
    pub fn write(&self) -> Result<String, String> {
        let mut text = String::new();
        write(self, &mut text)?;
        Ok(text)
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "a boolean",
            Json::Integer(_) => "a whole number",
            Json::Float(_) => "a fraction",
            Json::String(_) => "a string",
            Json::Array(_) => "a list",
            Json::Object(_) => "an object",
        }
    }
}

fn write(value: &Json, text: &mut String) -> Result<(), String> {
    match value {
        Json::Null => text.push_str("null"),
        Json::Bool(flag) => text.push_str(if *flag { "true" } else { "false" }),
        Json::Integer(number) => text.push_str(&number.to_string()),
        Json::Float(number) if number.is_finite() => text.push_str(&format!("{number:?}")),
        Json::Float(number) => {
            return Err(format!(
                "the result contains {number}, which JSON can't say"
            ))
        }
        Json::String(string) => write_string(string, text),
        Json::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(item, text)?;
            }
            text.push(']');
        }
        Json::Object(fields) => {
            text.push('{');
            for (index, (name, field)) in fields.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_string(name, text);
                text.push(':');
                write(field, text)?;
            }
            text.push('}');
        }
    }
    Ok(())
}

fn write_string(string: &str, text: &mut String) {
    text.push('"');
    let mut written = 0;
    for (index, byte) in string.bytes().enumerate() {
        if byte != b'"' && byte != b'\\' && byte >= 0x20 {
            continue;
        }
        text.push_str(&string[written..index]);
        written = index + 1;
        match byte {
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            b'\n' => text.push_str("\\n"),
            _ => text.push_str(&format!("\\u{byte:04x}")),
        }
    }
    text.push_str(&string[written..]);
    text.push('"');
}

struct Reader<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Reader<'a> {
    fn fail<T>(&self, what: &str) -> Result<T, String> {
        Err(format!("not JSON: {what} at byte {}", self.position))
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.position).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.position += 1;
        }
    }

    fn take(&mut self, wanted: &str) -> bool {
        let is_next = self.text[self.position..].starts_with(wanted);
        if is_next {
            self.position += wanted.len();
        }
        is_next
    }

    fn value(&mut self, depth: usize) -> Result<Json, String> {
        if depth > DEEPEST {
            return self.fail("it is nested too deeply");
        }
        self.skip_space();
        match self.peek() {
            None => self.fail("it ends"),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Json::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ if self.take("null") => Ok(Json::Null),
            _ if self.take("true") => Ok(Json::Bool(true)),
            _ if self.take("false") => Ok(Json::Bool(false)),
            _ => self.fail("no value"),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json, String> {
        let mut items = Vec::new();
        self.position += 1;
        self.skip_space();
        if self.take("]") {
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.skip_space();
            if self.take("]") {
                return Ok(Json::Array(items));
            }
            if !self.take(",") {
                return self.fail("no comma");
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, String> {
        let mut fields = BTreeMap::new();
        self.position += 1;
        self.skip_space();
        if self.take("}") {
            return Ok(Json::Object(fields));
        }
        loop {
            self.skip_space();
            if self.peek() != Some(b'"') {
                return self.fail("no field name");
            }
            let name = self.string()?;
            self.skip_space();
            if !self.take(":") {
                return self.fail("no colon");
            }
            fields.insert(name, self.value(depth + 1)?);
            self.skip_space();
            if self.take("}") {
                return Ok(Json::Object(fields));
            }
            if !self.take(",") {
                return self.fail("no comma");
            }
        }
    }

    fn number(&mut self) -> Result<Json, String> {
        let begin = self.position;
        self.take("-");
        let first = self.position;
        self.digits()?;
        if self.text.as_bytes()[first] == b'0' && self.position > first + 1 {
            return self.fail("a number begins with 0");
        }
        let mut is_whole = true;
        if self.take(".") {
            is_whole = false;
            self.digits()?;
        }
        if self.take("e") || self.take("E") {
            is_whole = false;
            let _ = self.take("+") || self.take("-");
            self.digits()?;
        }
        let text = &self.text[begin..self.position];
        if is_whole {
            if let Ok(number) = text.parse() {
                return Ok(Json::Integer(number));
            }
        }
        match text.parse() {
            Ok(number) => Ok(Json::Float(number)),
            Err(_) => self.fail("no number"),
        }
    }

    fn digits(&mut self) -> Result<(), String> {
        let begin = self.position;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.position += 1;
        }
        if begin == self.position {
            return self.fail("no digit");
        }
        Ok(())
    }

    fn string(&mut self) -> Result<String, String> {
        let mut string = String::new();
        self.position += 1;
        let mut begin = self.position;
        loop {
            match self.peek() {
                None => return self.fail("a string has no end"),
                Some(b'"') => {
                    string.push_str(&self.text[begin..self.position]);
                    self.position += 1;
                    return Ok(string);
                }
                Some(b'\\') => {
                    string.push_str(&self.text[begin..self.position]);
                    self.position += 1;
                    string.push(self.escaped()?);
                    begin = self.position;
                }
                Some(0..=0x1f) => return self.fail("a control character in a string"),
                Some(_) => self.position += 1,
            }
        }
    }

    fn escaped(&mut self) -> Result<char, String> {
        let letter = self.peek();
        self.position += usize::from(letter.map_or(false, |byte| byte.is_ascii()));
        Ok(match letter {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.code_point(),
            _ => return self.fail("an unknown escape"),
        })
    }

    fn code_point(&mut self) -> Result<char, String> {
        let first = self.unit()?;
        if !(0xd800..0xdc00).contains(&first) {
            // Half of a pair alone says nothing: the replacement character stands for it.
            return Ok(char::from_u32(first).unwrap_or('\u{fffd}'));
        }
        let before = self.position;
        if self.take("\\u") {
            let second = self.unit()?;
            if (0xdc00..0xe000).contains(&second) {
                let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or('\u{fffd}'));
            }
        }
        self.position = before;
        Ok('\u{fffd}')
    }

    fn unit(&mut self) -> Result<u32, String> {
        let digits = self.text.as_bytes().get(self.position..self.position + 4);
        let is_hex = digits.map_or(false, |digits| digits.iter().all(u8::is_ascii_hexdigit));
        if !is_hex {
            return self.fail("no four hexadecimal digits");
        }
        self.position += 4;
        let text = &self.text[self.position - 4..self.position];
        u32::from_str_radix(text, 16).map_err(|error| error.to_string())
    }
}
