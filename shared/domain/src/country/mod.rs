mod names;

use names::COUNTRIES;

/// A country: its two-letter code of ISO 3166-1, and what it is called in English.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Country {
    code: String,
    name: String,
}

impl Country {
    /// The country that has this code, in upper or lower case.
    pub fn from_code(code: &str) -> Option<Self> {
        let code = code.to_ascii_uppercase();
        let place = COUNTRIES.binary_search_by(|(known, _)| known.cmp(&&code[..])).ok()?;
        let (_, name) = COUNTRIES[place];
        Some(Self {
            code,
            name: name.to_owned(),
        })
    }

    /// The country that goes by this name in English, in whatever case.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.to_lowercase();
        let (code, name) = COUNTRIES.iter().find(|(_, known)| known.to_lowercase() == name)?;
        Some(Self {
            code: (*code).to_owned(),
            name: (*name).to_owned(),
        })
    }

    /// A country as somebody else describes it: without a name it has the one of the standard, and a code
    /// that the standard does not have, such as Kosovo's, is its own name.
    pub fn described(code: &str, name: Option<&str>) -> Option<Self> {
        let code = code.trim().to_ascii_uppercase();
        if code.len() != 2 || !code.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return None;
        }
        let name = match name.map(str::trim).filter(|name| !name.is_empty()) {
            Some(name) => name.to_owned(),
            None => Self::from_code(&code).map_or_else(|| code.clone(), |known| known.name),
        };
        Some(Self { code, name })
    }

    pub fn code(&self) -> &str {
        &self.code
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_can_be_searched() {
        assert_eq!(COUNTRIES.len(), 249);
        assert!(COUNTRIES.is_sorted_by(|one, next| one.0 < next.0));
        for (code, name) in COUNTRIES {
            let country = Country::from_code(&code.to_lowercase()).unwrap();
            assert_eq!((country.code(), country.name()), (*code, *name));
            assert_eq!(Country::from_name(&name.to_uppercase()).unwrap(), country);
        }
        for unknown in ["", "C", "CHE", "XX", "Å"] {
            assert_eq!(Country::from_code(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn descriptions_of_others_are_kept() {
        let described = |code, name| Country::described(code, name).map(|country| (country.code, country.name));
        let is = |code: &str, name: &str| Some((code.to_owned(), name.to_owned()));
        assert_eq!(described("fr", Some("France")), is("FR", "France"));
        assert_eq!(described("FR", Some("Frankreich")), is("FR", "Frankreich"));
        assert_eq!(described("FR", Some("  ")), is("FR", "France"));
        assert_eq!(described("FR", None), is("FR", "France"));
        assert_eq!(described("XK", None), is("XK", "XK"));
        for nonsense in ["", "F", "FRA", "12", "É"] {
            assert_eq!(described(nonsense, Some("France")), None, "{nonsense}");
        }
    }
}
