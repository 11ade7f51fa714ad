//! What `apply` may take and return.

use crate::json::Json;
use std::collections::{BTreeMap, HashMap};
use std::error::Error;

/// An input as it came.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    Text(String),
    Json(Json),
    Binary(Vec<u8>),
}

/// A result as callers get it.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    Text(String),
    Json(Json),
    Binary(Vec<u8>),
}

/// Types that a parameter of `apply` may have.
pub trait FromInput: Sized {
    fn from_input(input: Input) -> Result<Self, String>;
}

/// Types that `apply` may return.
pub trait IntoAnswer {
    fn into_answer(self) -> Result<Output, Box<dyn Error>>;
}

/// Types that JSON values can be read as.
pub trait FromJson: Sized {
    fn from_json(value: Json) -> Result<Self, String>;

    fn from_bytes(_bytes: Vec<u8>) -> Result<Self, String> {
        Err("the algorithm takes no binary input".to_string())
    }

    /// The value of a field that an object doesn't have.
    fn missing(name: &str) -> Result<Self, String> {
        Err(format!("the input has no field {name}"))
    }

    #[doc(hidden)]
    fn vec_from_bytes(_bytes: Vec<u8>) -> Result<Vec<Self>, String> {
        Err("the algorithm takes no binary input".to_string())
    }
}

/// Types that can be written as JSON.
pub trait ToJson: Sized {
    fn to_json(self) -> Json;

    fn to_output(self) -> Output {
        match self.to_json() {
            Json::String(text) => Output::Text(text),
            value => Output::Json(value),
        }
    }

    #[doc(hidden)]
    fn vec_to_output(items: Vec<Self>) -> Output {
        Output::Json(items.to_json())
    }
}

impl FromInput for Input {
    fn from_input(input: Input) -> Result<Self, String> {
        Ok(input)
    }
}

impl<T: FromJson> FromInput for T {
    fn from_input(input: Input) -> Result<Self, String> {
        match input {
            Input::Text(text) => T::from_json(Json::String(text)),
            Input::Json(value) => T::from_json(value),
            Input::Binary(bytes) => T::from_bytes(bytes),
        }
    }
}

impl IntoAnswer for Output {
    fn into_answer(self) -> Result<Output, Box<dyn Error>> {
        Ok(self)
    }
}

impl<T: ToJson> IntoAnswer for T {
    fn into_answer(self) -> Result<Output, Box<dyn Error>> {
        Ok(self.to_output())
    }
}

impl<T: IntoAnswer, E: Into<Box<dyn Error>>> IntoAnswer for Result<T, E> {
    fn into_answer(self) -> Result<Output, Box<dyn Error>> {
        self.map_err(Into::into).and_then(T::into_answer)
    }
}

fn wrong<T>(value: &Json, wanted: &str) -> Result<T, String> {
    Err(format!("{} came where {wanted} was expected", value.kind()))
}

impl FromJson for Json {
    fn from_json(value: Json) -> Result<Self, String> {
        Ok(value)
    }
}

impl ToJson for Json {
    fn to_json(self) -> Json {
        self
    }
}

impl FromJson for String {
    fn from_json(value: Json) -> Result<Self, String> {
        match value {
            Json::String(text) => Ok(text),
            other => wrong(&other, "a string"),
        }
    }
}

impl ToJson for String {
    fn to_json(self) -> Json {
        Json::String(self)
    }
}

impl ToJson for &str {
    fn to_json(self) -> Json {
        Json::String(self.to_string())
    }
}

impl FromJson for bool {
    fn from_json(value: Json) -> Result<Self, String> {
        match value {
            Json::Bool(flag) => Ok(flag),
            other => wrong(&other, "a boolean"),
        }
    }
}

impl ToJson for bool {
    fn to_json(self) -> Json {
        Json::Bool(self)
    }
}

impl FromJson for () {
    fn from_json(value: Json) -> Result<Self, String> {
        match value {
            Json::Null => Ok(()),
            other => wrong(&other, "null"),
        }
    }
}

impl ToJson for () {
    fn to_json(self) -> Json {
        Json::Null
    }
}

fn whole<T: TryFrom<i128>>(value: &Json) -> Result<T, String> {
    match value {
        Json::Integer(number) => match T::try_from(*number) {
            Ok(number) => Ok(number),
            Err(_) => Err(format!("{number} is out of range")),
        },
        other => wrong(other, "a whole number"),
    }
}

macro_rules! whole_numbers {
    ($($kind:ty)*) => {$(
        impl FromJson for $kind {
            fn from_json(value: Json) -> Result<Self, String> {
                whole(&value)
            }
        }

        impl ToJson for $kind {
            fn to_json(self) -> Json {
                Json::Integer(self as i128)
            }
        }
    )*};
}

whole_numbers!(i8 i16 i32 i64 i128 isize u16 u32 u64 usize);

// Bytes: a Vec of them is binary.
impl FromJson for u8 {
    fn from_json(value: Json) -> Result<Self, String> {
        whole(&value)
    }

    fn vec_from_bytes(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
        Ok(bytes)
    }
}

impl ToJson for u8 {
    fn to_json(self) -> Json {
        Json::Integer(i128::from(self))
    }

    fn vec_to_output(items: Vec<u8>) -> Output {
        Output::Binary(items)
    }
}

macro_rules! fractions {
    ($($kind:ty)*) => {$(
        impl FromJson for $kind {
            fn from_json(value: Json) -> Result<Self, String> {
                match value.as_f64() {
                    Some(number) => Ok(number as $kind),
                    None => wrong(&value, "a number"),
                }
            }
        }

        impl ToJson for $kind {
            fn to_json(self) -> Json {
                Json::Float(f64::from(self))
            }
        }
    )*};
}

fractions!(f32 f64);

impl<T: FromJson> FromJson for Option<T> {
    fn from_json(value: Json) -> Result<Self, String> {
        match value {
            Json::Null => Ok(None),
            other => T::from_json(other).map(Some),
        }
    }

    fn from_bytes(bytes: Vec<u8>) -> Result<Self, String> {
        T::from_bytes(bytes).map(Some)
    }

    fn missing(_name: &str) -> Result<Self, String> {
        Ok(None)
    }
}

impl<T: ToJson> ToJson for Option<T> {
    fn to_json(self) -> Json {
        self.map_or(Json::Null, T::to_json)
    }

    fn to_output(self) -> Output {
        self.map_or(Output::Json(Json::Null), T::to_output)
    }
}

impl<T: FromJson> FromJson for Box<T> {
    fn from_json(value: Json) -> Result<Self, String> {
        T::from_json(value).map(Box::new)
    }
}

impl<T: ToJson> ToJson for Box<T> {
    fn to_json(self) -> Json {
        (*self).to_json()
    }
}

fn items(value: Json) -> Result<Vec<Json>, String> {
    match value {
        Json::Array(items) => Ok(items),
        other => wrong(&other, "a list"),
    }
}

impl<T: FromJson> FromJson for Vec<T> {
    fn from_json(value: Json) -> Result<Self, String> {
        items(value)?.into_iter().map(T::from_json).collect()
    }

    fn from_bytes(bytes: Vec<u8>) -> Result<Self, String> {
        T::vec_from_bytes(bytes)
    }
}

impl<T: ToJson> ToJson for Vec<T> {
    fn to_json(self) -> Json {
        Json::Array(self.into_iter().map(T::to_json).collect())
    }

    fn to_output(self) -> Output {
        T::vec_to_output(self)
    }
}

macro_rules! maps {
    ($($kind:ident)*) => {$(
        impl<T: FromJson> FromJson for $kind<String, T> {
            fn from_json(value: Json) -> Result<Self, String> {
                match value {
                    Json::Object(fields) => {
                        fields.into_iter().map(|(name, value)| Ok((name, T::from_json(value)?))).collect()
                    }
                    other => wrong(&other, "an object"),
                }
            }
        }

        impl<T: ToJson> ToJson for $kind<String, T> {
            fn to_json(self) -> Json {
                Json::Object(self.into_iter().map(|(name, value)| (name, value.to_json())).collect())
            }
        }
    )*};
}

maps!(HashMap BTreeMap);

macro_rules! tuples {
    ($($count:literal: $($kind:ident)*;)*) => {$(
        impl<$($kind: FromJson),*> FromJson for ($($kind,)*) {
            fn from_json(value: Json) -> Result<Self, String> {
                let found = items(value)?;
                if found.len() != $count {
                    return Err(format!("a list of {} came where {} were expected", found.len(), $count));
                }
                let mut found = found.into_iter();
                Ok(($($kind::from_json(found.next().unwrap_or(Json::Null))?,)*))
            }
        }

        impl<$($kind: ToJson),*> ToJson for ($($kind,)*) {
            #[allow(non_snake_case)]
            fn to_json(self) -> Json {
                let ($($kind,)*) = self;
                Json::Array(vec![$($kind.to_json()),*])
            }
        }
    )*};
}

tuples! {
    1: A;
    2: A B;
    3: A B C;
    4: A B C D;
    5: A B C D E;
    6: A B C D E F;
}

/// Declares structs that are JSON objects: `json_struct! { pub struct Name { pub first: String, pub last: Option<String> } }`.
#[macro_export]
macro_rules! json_struct {
    ($($(#[$about:meta])* $seen:vis struct $name:ident {
        $($(#[$about_field:meta])* $field_seen:vis $field:ident: $kind:ty),* $(,)?
    })*) => {$(
        $(#[$about])*
        $seen struct $name {
            $($(#[$about_field])* $field_seen $field: $kind,)*
        }

        impl $crate::FromJson for $name {
            #[allow(unused_mut)]
            fn from_json(value: $crate::Json) -> ::std::result::Result<Self, ::std::string::String> {
                let mut fields = <::std::collections::BTreeMap<::std::string::String, $crate::Json>
                    as $crate::FromJson>::from_json(value)?;
                ::std::result::Result::Ok($name {
                    $($field: match fields.remove(stringify!($field)) {
                        Some(value) => <$kind as $crate::FromJson>::from_json(value)
                            .map_err(|problem| format!("{}: {}", stringify!($field), problem))?,
                        None => <$kind as $crate::FromJson>::missing(stringify!($field))?,
                    },)*
                })
            }
        }

        impl $crate::ToJson for $name {
            fn to_json(self) -> $crate::Json {
                let mut fields = ::std::collections::BTreeMap::new();
                $(fields.insert(stringify!($field).to_string(), $crate::ToJson::to_json(self.$field));)*
                $crate::Json::Object(fields)
            }
        }
    )*};
}
