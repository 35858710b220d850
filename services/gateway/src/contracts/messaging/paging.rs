use actix_web::HttpRequest;

use crate::application::Page;

/// The most entries that a page has, whatever is asked for.
const LARGEST: u64 = 1000;
/// The largest number that every reader of JSON understands exactly.
const FURTHEST: u64 = (1 << 53) - 1;

/// Reads a page from the query. Page numbers below 1 are page 1; what cannot be read, and a size that is
/// none, means the default.
pub(super) fn page(request: &HttpRequest, number: &str, size: &str, default_size: u64) -> Page {
    read(request.query_string(), number, size, default_size)
}

fn read(query: &str, number: &str, size: &str, default_size: u64) -> Page {
    let value = |name: &str| {
        url::form_urlencoded::parse(query.as_bytes())
            .find(|(key, _)| key == name)
            .and_then(|(_, value)| whole(&value))
    };
    Page {
        number: value(number).unwrap_or(1).clamp(1, FURTHEST),
        size: value(size)
            .filter(|size| *size > 0)
            .unwrap_or(default_size)
            .min(LARGEST),
    }
}

/// A whole number of any length. Negative ones are 0, those too large to count with are the largest.
fn whole(text: &str) -> Option<u64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if digits.len() < text.len() {
        return Some(0);
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_query_is_a_page(query in prop_oneof![any::<String>(), "(page|max)=-?[0-9]{0,30}(&max=[0-9]{0,30})?"]) {
            let page = read(&query, "page", "max", 10);
            prop_assert!((1..=FURTHEST).contains(&page.number) && (1..=LARGEST).contains(&page.size));
        }
    }

    #[test]
    fn pages_are_read_leniently() {
        for (query, number, size) in [
            ("", 1, 10),
            ("page=3&max=5", 3, 5),
            ("page=0&max=0", 1, 10),
            ("page=-7&max=-7", 1, 10),
            ("page=&max=", 1, 10),
            ("page=two&max=ten", 1, 10),
            ("page=2.5&max=1e3", 1, 10),
            ("page=%32&max=%31%30%30", 2, 100),
            ("page=%FF&max=%", 1, 10),
            ("page=2&page=3&max=1000000", 2, 1000),
            (
                "page=99999999999999999999999999&max=18446744073709551616",
                FURTHEST,
                1000,
            ),
            ("Page=3&MAX=5&other", 1, 10),
        ] {
            assert_eq!(read(query, "page", "max", 10), Page { number, size }, "{query}");
        }
    }
}
