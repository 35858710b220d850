use serde_json::{Map, Value};

use super::Refusal;

/// The fields of a JSON object, taken one by one; whatever is left over is ignored.
///
/// Errors name the field by its path, such as `to.phone`.
#[derive(Debug)]
pub(super) struct Fields {
    /// Of the object itself: empty, or with a dot at its end.
    path: String,
    fields: Map<String, Value>,
}

impl Fields {
    pub(super) fn new(fields: Map<String, Value>) -> Self {
        Self {
            path: String::new(),
            fields,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    pub(super) fn required(&mut self, name: &str) -> Result<String, Refusal> {
        self.optional(name)?.ok_or_else(|| self.missing(name))
    }

    pub(super) fn optional(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        match self.fields.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.error(name, "must be a string")),
        }
    }

    pub(super) fn required_object(&mut self, name: &str) -> Result<Self, Refusal> {
        match self.fields.remove(name) {
            None => Err(self.missing(name)),
            Some(Value::Object(fields)) => Ok(Self {
                path: format!("{}{name}.", self.path),
                fields,
            }),
            Some(_) => Err(self.error(name, "must be an object")),
        }
    }

    fn missing(&self, name: &str) -> Refusal {
        self.error(name, "is required")
    }

    fn error(&self, name: &str, rule: &str) -> Refusal {
        Refusal::BadRequest(format!("{}{name} {rule}", self.path))
    }
}
