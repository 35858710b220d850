use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::Refusal;
use super::problem::Fault;

/// The fields of a JSON object. Everything that is wrong with them is gathered and told at once; fields that
/// nobody asks for are ignored, and null is the same as no field.
#[derive(Debug)]
pub(super) struct Fields {
    fields: Map<String, Value>,
    faults: Vec<Fault>,
}

impl Fields {
    pub(super) fn read(body: &[u8]) -> Result<Self, Refusal> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self {
                fields,
                faults: Vec::new(),
            }),
            Ok(_) => Err(Refusal::Malformed("it must be a JSON object".to_owned())),
            Err(error) => Err(Refusal::Malformed(error.to_string())),
        }
    }

    /// Notes what is wrong with a field.
    pub(super) fn fault(&mut self, field: &str, code: &'static str, message: impl Into<String>) {
        self.faults.push(Fault {
            pointer: format!("/{field}"),
            code,
            message: message.into(),
        });
    }

    fn take(&mut self, field: &str) -> Option<Value> {
        self.fields.remove(field).filter(|value| !value.is_null())
    }

    /// A string that must be there.
    pub(super) fn text(&mut self, field: &str) -> Option<String> {
        let text = self.optional_text(field);
        if text.is_none() && !self.is_faulty(field) {
            self.fault(field, "required", "is required");
        }
        text
    }

    pub(super) fn optional_text(&mut self, field: &str) -> Option<String> {
        match self.take(field)? {
            Value::String(text) => Some(text),
            _ => {
                self.fault(field, "not-a-string", "must be a string");
                None
            }
        }
    }

    /// A list of strings that must be there.
    pub(super) fn texts(&mut self, field: &str) -> Option<Vec<String>> {
        let Some(value) = self.take(field) else {
            self.fault(field, "required", "is required");
            return None;
        };
        let texts = match value {
            Value::Array(values) => values
                .into_iter()
                .map(|value| value.as_str().map(str::to_owned))
                .collect(),
            _ => None,
        };
        if texts.is_none() {
            self.fault(field, "not-a-list", "must be a list of strings");
        }
        texts
    }

    pub(super) fn time(&mut self, field: &str) -> Option<DateTime<Utc>> {
        let text = self.optional_text(field)?;
        let time = DateTime::parse_from_rfc3339(&text).ok().map(|time| time.to_utc());
        // Later than databases and other programs can count.
        let time = time.filter(|time| (1970..=9999).contains(&chrono::Datelike::year(time)));
        if time.is_none() {
            self.fault(
                field,
                "not-a-time",
                "must be a time such as 2026-01-02T03:04:05Z (RFC 3339)",
            );
        }
        time
    }

    /// Takes a value that its type has judged.
    pub(super) fn judged<T>(&mut self, field: &str, value: Result<T, tidings_domain::Invalid>) -> Option<T> {
        value.map_err(|invalid| self.fault(field, "invalid", invalid.0)).ok()
    }

    fn is_faulty(&self, field: &str) -> bool {
        self.faults.iter().any(|fault| fault.pointer[1..] == *field)
    }

    /// What was made of the fields, if nothing is wrong with any of them.
    pub(super) fn finish<T>(self, made: Option<T>) -> Result<T, Refusal> {
        match made {
            Some(made) if self.faults.is_empty() => Ok(made),
            _ => Err(Refusal::Invalid(self.faults)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pointers(refusal: &Refusal) -> Vec<(&str, &str)> {
        let Refusal::Invalid(faults) = refusal else {
            panic!("{refusal:?}")
        };
        faults.iter().map(|fault| (&fault.pointer[..], fault.code)).collect()
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let body = br#"{"a": 1, "b": null, "c": ["x", 2], "d": "yesterday", "e": "10000-01-01T00:00:00Z", "f": "2026-01-02T03:04:05+01:00", "g": ["x"]}"#;
        let mut fields = Fields::read(body).unwrap();
        assert_eq!(
            (fields.text("a"), fields.text("b"), fields.texts("c")),
            (None, None, None)
        );
        assert_eq!(
            (fields.time("d"), fields.time("e"), fields.texts("h")),
            (None, None, None)
        );
        assert_eq!(fields.time("f").unwrap().to_string(), "2026-01-02 02:04:05 UTC");
        assert_eq!(fields.texts("g").unwrap(), ["x"]);
        let refusal = fields.finish(Some(())).unwrap_err();
        assert_eq!(
            pointers(&refusal),
            [
                ("/a", "not-a-string"),
                ("/b", "required"),
                ("/c", "not-a-list"),
                ("/d", "not-a-time"),
                ("/e", "not-a-time"),
                ("/h", "required")
            ]
        );
    }

    proptest! {
        #[test]
        fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..200), value in ".*") {
            let _ = Fields::read(&body);
            let text = serde_json::json!({"a": value}).to_string();
            let mut fields = Fields::read(text.as_bytes()).unwrap();
            let _ = fields.time("a");
        }
    }
}
