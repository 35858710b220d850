use crate::Invalid;

/// Checks free text: `field` must have between 1 and `max` characters, not all blank, and no NUL,
/// which PostgreSQL cannot store.
pub(crate) fn checked(field: &str, text: String, max: usize) -> Result<String, Invalid> {
    if text.trim().is_empty() {
        return Err(Invalid::new(format!("{field} must not be empty")));
    }
    if text.contains('\0') {
        return Err(Invalid::new(format!("{field} must not contain NUL characters")));
    }
    if text.chars().count() > max {
        return Err(Invalid::new(format!("{field} must have at most {max} characters")));
    }
    Ok(text)
}
