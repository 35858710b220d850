use serde_json::{Map, Value};

/// The fields of a JSON object, taken one by one; whatever is left over is ignored.
///
/// Errors name the field by its path, such as `to.phone`.
#[derive(Debug)]
pub(super) struct Fields {
    /// Of the object itself: empty, or with a dot at its end.
    path: String,
    fields: Map<String, Value>,
}

/// What is wrong with a body, in words for whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct BadBody(String);

impl Fields {
    /// Reads a body, which must be a JSON object.
    pub(super) fn read(body: &[u8]) -> Result<Self, BadBody> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self {
                path: String::new(),
                fields,
            }),
            Ok(_) => Err(BadBody("the body must be a JSON object".to_owned())),
            Err(error) => Err(BadBody(format!("the body is not valid JSON: {error}"))),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    pub(super) fn required(&mut self, name: &str) -> Result<String, BadBody> {
        self.optional(name)?.ok_or_else(|| self.missing(name))
    }

    pub(super) fn optional(&mut self, name: &str) -> Result<Option<String>, BadBody> {
        match self.fields.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.error(name, "must be a string")),
        }
    }

    /// `None` if it is null.
    pub(super) fn required_or_null(&mut self, name: &str) -> Result<Option<String>, BadBody> {
        match self.fields.remove(name) {
            None => Err(self.missing(name)),
            Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.error(name, "must be a string or null")),
        }
    }

    /// An integer as its digits, or a string as it is.
    pub(super) fn optional_number(&mut self, name: &str) -> Result<Option<String>, BadBody> {
        match self.fields.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(Value::Number(number)) if !number.is_f64() => Ok(Some(number.to_string())),
            Some(_) => Err(self.error(name, "must be an integer, or a string of its digits")),
        }
    }

    pub(super) fn required_object(&mut self, name: &str) -> Result<Self, BadBody> {
        match self.fields.remove(name) {
            None => Err(self.missing(name)),
            Some(Value::Object(fields)) => Ok(Self {
                path: format!("{}{name}.", self.path),
                fields,
            }),
            Some(_) => Err(self.error(name, "must be an object")),
        }
    }

    fn missing(&self, name: &str) -> BadBody {
        self.error(name, "is required")
    }

    fn error(&self, name: &str, rule: &str) -> BadBody {
        BadBody(format!("{}{name} {rule}", self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_digits_however_it_is_written() {
        let read = |value: &str| {
            let mut fields = Fields::read(format!("{{\"expire\": {value}}}").as_bytes()).unwrap();
            fields.optional_number("expire")
        };
        for (value, digits) in [
            ("1427736345", "1427736345"),
            ("\"1427736345\"", "1427736345"),
            ("-1", "-1"),
            ("18446744073709551615", "18446744073709551615"),
            ("\"\"", ""),
        ] {
            assert_eq!(read(value), Ok(Some(digits.to_owned())), "{value}");
        }
        for other in ["1.0", "1e3", "18446744073709551616", "true", "null", "[]", "{}"] {
            assert!(read(other).is_err(), "{other}");
        }
        assert_eq!(Fields::read(b"{}").unwrap().optional_number("expire"), Ok(None));
    }
}
