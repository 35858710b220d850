use super::TABLE;
use super::table::Fallback;

/// The table of all settings as it stands in `docs/settings.md`.
pub fn markdown_table() -> String {
    let mut text = String::from("| name | default | in production | meaning |\n| --- | --- | --- | --- |\n");
    for setting in TABLE {
        let production = if setting.production == setting.development {
            "the same".to_owned()
        } else {
            shown(setting.production)
        };
        let development = shown(setting.development);
        text.push_str(&format!(
            "| `{}` | {development} | {production} | {} |\n",
            setting.name, setting.meaning
        ));
    }
    text
}

fn shown(fallback: Fallback) -> String {
    match fallback {
        Fallback::Value(text) => format!("`{text}`"),
        Fallback::Unset(consequence) => format!("unset: {consequence}"),
        Fallback::Required => "must be set".to_owned(),
    }
}
