use crate::Invalid;

/// One thing that is wrong with a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextFault {
    #[error("must not be empty")]
    Blank,
    #[error("must have at most {max} characters")]
    TooLong { max: usize },
    /// PostgreSQL cannot store it.
    #[error("must not contain NUL characters")]
    Nul,
    #[error("must be an email address such as odile@example.com")]
    NotAnEmail,
}

/// Everything that is wrong with free text that must have between 1 and `max` characters, not all blank. A
/// blank one has no other fault.
pub(crate) fn faults(text: &str, max: usize) -> Vec<TextFault> {
    if text.trim().is_empty() {
        return vec![TextFault::Blank];
    }
    let mut faults = Vec::new();
    if text.chars().count() > max {
        faults.push(TextFault::TooLong { max });
    }
    if text.contains('\0') {
        faults.push(TextFault::Nul);
    }
    faults
}

/// The text, if nothing is wrong with it.
pub(crate) fn faultless(text: String, max: usize) -> Result<String, Vec<TextFault>> {
    let faults = faults(&text, max);
    if faults.is_empty() { Ok(text) } else { Err(faults) }
}

/// The same for a value with one rule at a time; `field` is what the refusal calls it.
pub(crate) fn checked(field: &str, text: String, max: usize) -> Result<String, Invalid> {
    match faults(&text, max).last() {
        None => Ok(text),
        Some(fault) => Err(Invalid::new(format!("{field} {fault}"))),
    }
}
