//! Whatever may stand in the database instead of a sealed secret, and in the settings instead of a key.

#![no_main]

use tidings_domain::SealedSecret;
use tidings_vault::Vault;

libfuzzer_sys::fuzz_target!(|input: (&str, &str)| {
    let (text, owner) = input;
    let _ = Vault::from_text(&text.into());
    let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let vault = Vault::from_text(&key.into()).expect("a key");
    let opened = vault.open(owner, &SealedSecret::from_stored(text.to_owned()));
    // Nobody makes one without the key.
    assert!(opened.is_err() || !text.starts_with("sealed:v1:"));
});
