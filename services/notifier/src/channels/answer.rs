/// What a provider said, fit to be kept and shown: without secrets that it repeats, and without characters
/// that could play tricks on a terminal.
pub(super) fn shown<'a>(said: &str, secrets: impl IntoIterator<Item = &'a str>) -> String {
    let mut said = said.to_owned();
    for secret in secrets {
        if !secret.is_empty() {
            said = said.replace(secret, "…");
        }
    }
    let printable = |character: char| if character.is_control() { ' ' } else { character };
    said.chars().map(printable).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_not_be_shown_is_left_out() {
        assert_eq!(
            shown("bad token s3cret,\r\nnot s3cret\0\u{1b}[0m ", ["s3cret", ""]),
            "bad token …,  not …  [0m"
        );
    }
}
