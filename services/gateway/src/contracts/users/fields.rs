use std::collections::HashMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::Refusal;
use crate::application::users::{Draft, Given};

/// Reads a body. One without any bytes is an object without any fields.
pub(super) fn draft(body: &[u8]) -> Result<Draft, Refusal> {
    let mut fields = match body {
        b"" => Fields::default(),
        body => Fields::read(body)?,
    };
    Ok(Draft {
        first_name: fields.take("first_name"),
        last_name: fields.take("last_name"),
        email: fields.take("email"),
        password: fields.take("password"),
        address: fields.take("address"),
    })
}

#[derive(Default)]
struct Fields {
    fields: Map<String, Value>,
    /// Numbers as they stand in the body, by the name of their field.
    numbers: HashMap<String, String>,
}

impl Fields {
    fn read(body: &[u8]) -> Result<Self, Refusal> {
        let fields = match serde_json::from_slice(body).map_err(Refusal::Json)? {
            Value::Object(fields) => fields,
            other => return Err(Refusal::NotAnObject(kind(&other))),
        };
        let numbers = if fields.values().any(integer_too_large) {
            literals(body)?
        } else {
            HashMap::new()
        };
        Ok(Self { fields, numbers })
    }

    fn take(&mut self, name: &str) -> Given {
        match self.fields.remove(name) {
            None => Given::Nothing,
            Some(Value::Null) => Given::Null,
            Some(Value::String(text)) => Given::Text(text),
            Some(Value::Number(number)) => {
                let literal = self.numbers.remove(name);
                Given::Text(literal.unwrap_or_else(|| number.to_string()))
            }
            Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => Given::NotText,
        }
    }
}

/// Whether a number may have lost digits by having been read as a floating-point one.
fn integer_too_large(value: &Value) -> bool {
    value
        .as_f64()
        .is_some_and(|number| value.is_f64() && number.fract() == 0.0)
}

/// The integers of an object, digit for digit.
fn literals(body: &[u8]) -> Result<HashMap<String, String>, Refusal> {
    let raw: HashMap<String, &RawValue> = serde_json::from_slice(body).map_err(Refusal::Json)?;
    let integer = |text: &str| {
        let digits = text.strip_prefix('-').unwrap_or(text);
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    Ok(raw
        .into_iter()
        .map(|(name, value)| (name, value.get().to_owned()))
        .filter(|(_, text)| integer(text))
        .collect())
}

/// What the contract's clients call it.
fn kind(value: &Value) -> Option<&'static str> {
    match value {
        Value::Null => None,
        Value::Bool(_) => Some("bool"),
        Value::Number(number) if number.is_f64() => Some("float"),
        Value::Number(_) => Some("int"),
        Value::String(_) => Some("str"),
        Value::Array(_) => Some("list"),
        Value::Object(_) => Some("dict"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn email(value: &str) -> Option<String> {
        match draft(format!("{{\"email\": {value}}}").as_bytes()).unwrap().email {
            Given::Text(text) => Some(text),
            _ => None,
        }
    }

    #[test]
    fn numbers_are_texts_digit_for_digit() {
        for (number, text) in [
            ("5", "5"),
            ("-5", "-5"),
            ("1.5", "1.5"),
            ("1.0", "1.0"),
            ("18446744073709551616", "18446744073709551616"),
            ("-123456789012345678901234567890", "-123456789012345678901234567890"),
        ] {
            assert_eq!(email(number).as_deref(), Some(text));
        }
        for other in ["true", "[]", "{}", "null"] {
            assert_eq!(email(other), None, "{other}");
        }
    }
}
