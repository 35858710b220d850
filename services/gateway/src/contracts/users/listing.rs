use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use tidings_domain::UserId;
use url::form_urlencoded;

use super::Refusal;
use crate::application::users::{Sort, SortBy, UserFilter, Wanted};

const DEFAULT_SIZE: u64 = 10;
const LARGEST_SIZE: u64 = 20;

/// What a list is asked for by its query.
#[derive(Debug)]
pub(super) struct Listing {
    query: Vec<(String, String)>,
    pub(super) filter: UserFilter,
    pub(super) sort: Vec<Sort>,
    pub(super) wanted: Wanted,
    pub(super) size: u64,
}

/// A parameter, and what is wrong with it.
pub(super) type BadParameter = (&'static str, &'static str);

impl Listing {
    /// Unknown parameters mean nothing, but stay in links; of several with one name the last one counts.
    pub(super) fn read(query: &str) -> Result<Self, Refusal> {
        let query: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        // What is empty was left out in a form.
        let value = |name: &str| {
            let last = query.iter().rev().find(|(key, _)| key == name);
            last.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
        };
        let mut bad = Vec::new();
        let mut id = |name: &'static str| {
            let text = value(name)?;
            let id = id(text);
            if id.is_none() {
                bad.push((name, "Enter a whole number."));
            }
            id
        };
        let (since_id, max_id) = (id("since_id"), id("max_id"));
        let until = value("until").and_then(|text| {
            let time = time(text);
            if time.is_none() {
                bad.push(("until", "Enter a valid date/time."));
            }
            time
        });
        if !bad.is_empty() {
            return Err(Refusal::Query(bad));
        }
        let filter = UserFilter {
            first_name: value("first_name").map(str::to_owned),
            last_name: value("last_name").map(str::to_owned),
            search: words(value("search").unwrap_or_default()),
            since_id,
            max_id,
            until,
            country: value("country").map(str::to_owned),
        };
        let sort = value("ordering")
            .unwrap_or_default()
            .split(',')
            .filter_map(sort)
            .collect();
        let wanted = match value("page") {
            None => Wanted::Number(1),
            Some("last") => Wanted::Last,
            // Page 0 is one that does not exist.
            Some(number) => Wanted::Number(whole(number).unwrap_or(0)),
        };
        let size = value("page_size")
            .and_then(whole)
            .filter(|size| *size > 0)
            .unwrap_or(DEFAULT_SIZE)
            .min(LARGEST_SIZE);
        Ok(Self {
            filter,
            sort,
            wanted,
            size,
            query,
        })
    }

    /// The address of another page of the same list: parameters by name, and none for the first page.
    pub(super) fn link(&self, base: &str, path: &str, page: u64) -> String {
        let mut query: Vec<_> = self.query.iter().filter(|(name, _)| name != "page").cloned().collect();
        if page > 1 {
            query.push(("page".to_owned(), page.to_string()));
        }
        query.sort_by(|(one, _), (other, _)| one.cmp(other));
        if query.is_empty() {
            return format!("{base}{path}");
        }
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(query)
            .finish();
        format!("{base}{path}?{query}")
    }
}

/// The words of a search, each once. NUL is part of no word.
fn words(search: &str) -> Vec<String> {
    let mut words: Vec<_> = search
        .split(|character: char| character == ',' || character.is_whitespace())
        .map(|word| word.replace('\0', ""))
        .filter(|word| !word.is_empty())
        .collect();
    words.sort_unstable();
    words.dedup();
    words
}

/// One field of an ordering; one that there is not is left out.
fn sort(field: &str) -> Option<Sort> {
    let field = field.trim();
    let name = field.strip_prefix('-').unwrap_or(field);
    let by = match name {
        "email" => SortBy::Email,
        "last_name" => SortBy::LastName,
        _ => return None,
    };
    Some(Sort {
        by,
        descending: name.len() < field.len(),
    })
}

/// A whole number of any length; one too large to count with is the largest.
fn whole(text: &str) -> Option<u64> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// A number to compare ids with, which may be one that no id can be.
fn id(text: &str) -> Option<UserId> {
    let (digits, sign) = match text.strip_prefix('-') {
        Some(digits) => (digits, -1),
        None => (text, 1),
    };
    let id = whole(digits)?.min(i64::MAX.unsigned_abs());
    Some((i64::try_from(id).unwrap_or(i64::MAX) * sign).into())
}

/// A date, or a date and a time; without a time zone in UTC.
fn time(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.to_utc());
    }
    // In a query a plus sign that nobody encoded has become a space.
    if let Some((time, zone)) = text.rsplit_once(' ')
        && let Ok(time) = DateTime::parse_from_rfc3339(&format!("{time}+{zone}"))
    {
        return Some(time.to_utc());
    }
    let time = NaiveDateTime::parse_from_str(&text.replacen(' ', "T", 1), "%Y-%m-%dT%H:%M:%S%.f");
    let midnight = || NaiveDate::parse_from_str(text, "%Y-%m-%d").map(|date| date.and_time(NaiveTime::MIN));
    let year = text.get(..5)?;
    let has_year = year.ends_with('-') && year[..4].bytes().all(|byte| byte.is_ascii_digit());
    time.or_else(|_| midnight())
        .ok()
        .filter(|_| has_year)
        .map(|time| time.and_utc())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pages_and_sizes() {
        for (query, wanted, size) in [
            ("", Wanted::Number(1), 10),
            ("page=&page_size=", Wanted::Number(1), 10),
            ("page=3&page_size=5", Wanted::Number(3), 5),
            ("page=last&page_size=20", Wanted::Last, 20),
            ("page_size=21", Wanted::Number(1), 20),
            ("page_size=99999999999999999999", Wanted::Number(1), 20),
            ("page_size=0", Wanted::Number(1), 10),
            ("page_size=-5", Wanted::Number(1), 10),
            ("page_size=ten", Wanted::Number(1), 10),
            ("page=0", Wanted::Number(0), 10),
            ("page=-1", Wanted::Number(0), 10),
            ("page=two", Wanted::Number(0), 10),
            ("page=1.0", Wanted::Number(0), 10),
            ("page=LAST", Wanted::Number(0), 10),
            ("page=99999999999999999999", Wanted::Number(u64::MAX), 10),
            ("page=2&page=3", Wanted::Number(3), 10),
        ] {
            let listing = Listing::read(query).unwrap();
            assert_eq!((listing.wanted, listing.size), (wanted, size), "{query}");
        }
    }

    #[test]
    fn links_keep_the_other_parameters() {
        let link = |query: &str, page| Listing::read(query).unwrap().link("http://h", "/api/v1/users", page);
        assert_eq!(link("", 1), "http://h/api/v1/users");
        assert_eq!(link("page=2", 1), "http://h/api/v1/users");
        assert_eq!(link("", 2), "http://h/api/v1/users?page=2");
        assert_eq!(
            link("search=a%20b%26c&page=last&page_size=2&ordering=-email&x", 3),
            "http://h/api/v1/users?ordering=-email&page=3&page_size=2&search=a+b%26c&x="
        );
        assert_eq!(link("b=2&a=2&b=1&a=1", 1), "http://h/api/v1/users?a=2&a=1&b=2&b=1");
    }

    #[test]
    fn filters() {
        let listing = Listing::read(
            "first_name=+Odile+&last_name=&search=oderay,+Deray%00+oderay&since_id=-3&max_id=99999999999999999999\
             &until=2026-01-02&ordering=-email,id,last_name&country=CH",
        )
        .unwrap();
        let filter = listing.filter;
        assert_eq!((filter.first_name.as_deref(), filter.last_name), (Some("Odile"), None));
        assert_eq!(filter.search, ["Deray", "oderay"]);
        assert_eq!(
            (filter.since_id, filter.max_id),
            (Some((-3).into()), Some(i64::MAX.into()))
        );
        assert_eq!(filter.until.unwrap().to_rfc3339(), "2026-01-02T00:00:00+00:00");
        assert_eq!(filter.country.as_deref(), Some("CH"));
        let sort = |by, descending| Sort { by, descending };
        assert_eq!(listing.sort, [sort(SortBy::Email, true), sort(SortBy::LastName, false)]);
        let Err(Refusal::Query(bad)) = Listing::read("since_id=x&max_id=1.5&until=yesterday") else {
            panic!("refused");
        };
        assert_eq!(
            bad.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
            ["since_id", "max_id", "until"]
        );
    }

    #[test]
    fn times() {
        for (text, expected) in [
            ("2026-01-02", "2026-01-02T00:00:00+00:00"),
            ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05+00:00"),
            ("2026-01-02T03:04:05.5+01:00", "2026-01-02T02:04:05.500+00:00"),
            ("2026-01-02T03:04:05 01:00", "2026-01-02T02:04:05+00:00"),
            ("2026-01-02 03:04:05", "2026-01-02T03:04:05+00:00"),
            ("2026-01-02T03:04:05", "2026-01-02T03:04:05+00:00"),
        ] {
            assert_eq!(time(text).unwrap().to_rfc3339(), expected, "{text}");
        }
        for bad in [
            "2026",
            "2026-13-01",
            "02.01.2026",
            "+12026-01-01",
            "-2026-01-01",
            "é2026-01-01",
            "now",
        ] {
            assert_eq!(time(bad), None, "{bad}");
        }
    }

    proptest! {
        /// Whoever follows a link comes to that page of the same list.
        #[test]
        fn a_link_leads_to_its_page_of_the_same_list(
            query in prop::collection::vec(("(page|page_size|ordering|search|first_name|x)", "[a-z0-9 &=%+é,-]{0,6}"), 0..6),
            page in 1..1_000_000_u64,
        ) {
            let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&query).finish();
            let listing = Listing::read(&query).unwrap();
            let link = listing.link("http://h", "/p", page);
            let (_, query) = link.split_once('?').unwrap_or((&link, ""));
            let followed = Listing::read(query).unwrap();
            prop_assert_eq!(followed.wanted, Wanted::Number(page));
            prop_assert_eq!(followed.size, listing.size);
            prop_assert_eq!(&followed.sort, &listing.sort);
            prop_assert_eq!(&followed.filter.search, &listing.filter.search);
            prop_assert_eq!(&followed.filter.first_name, &listing.filter.first_name);
            let names: Vec<_> = followed.query.iter().map(|(name, _)| name.clone()).collect();
            prop_assert!(names.is_sorted());
            prop_assert_eq!(followed.link("http://h", "/p", page), link);
        }

        #[test]
        fn no_query_panics(query in any::<String>()) {
            let _ = Listing::read(&query);
        }
    }
}
