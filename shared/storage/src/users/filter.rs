use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, Condition, DbBackend, Order, QueryFilter, QueryOrder, Select};
use tidings_domain::{Country, UserId};

use crate::entities::user::{Column, Entity};

/// The most words that a search looks for. Databases limit how long a condition may be, and nobody's
/// name and email answer to so many.
const WORDS: usize = 100;

/// Which users are meant: those that pass everything that is set.
#[derive(Debug, Clone, Default)]
pub struct UserFilter {
    /// In exactly these letters.
    pub first_name: Option<String>,
    /// In exactly these letters.
    pub last_name: Option<String>,
    /// Each is a part of the email or the whole last name, in whatever case.
    pub search: Vec<String>,
    /// With a greater id.
    pub since_id: Option<UserId>,
    /// With a smaller id.
    pub max_id: Option<UserId>,
    /// Created before.
    pub until: Option<DateTime<Utc>>,
    /// Whose address ends with this country, by its name or its code.
    pub country: Option<String>,
}

/// What a list of users is sorted by, one after the other; in the end by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sort {
    pub by: SortBy,
    pub descending: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortBy {
    Email,
    LastName,
}

impl UserFilter {
    /// Adds the conditions to a query; `None` if no user can pass.
    pub(super) fn apply(&self, users: Select<Entity>, backend: DbBackend) -> Option<Select<Entity>> {
        let texts = self.first_name.iter().chain(&self.last_name).chain(&self.search);
        // PostgreSQL refuses NUL characters, which no text that is kept has.
        if texts.into_iter().any(|text| text.contains('\0')) || self.search.len() > WORDS {
            return None;
        }
        let mut all = Condition::all();
        if let Some(name) = &self.first_name {
            all = all.add(Column::FirstName.eq(name));
        }
        if let Some(name) = &self.last_name {
            all = all.add(Column::LastName.eq(name));
        }
        for word in &self.search {
            let word = fold(word);
            all = all.add(Condition::any().add(Column::LastNameFolded.eq(&word)).add(contains(
                backend,
                Column::EmailFolded,
                word,
            )));
        }
        if let Some(id) = self.since_id {
            all = all.add(Column::Id.gt(id.as_i64()));
        }
        if let Some(id) = self.max_id {
            all = all.add(Column::Id.lt(id.as_i64()));
        }
        if let Some(time) = self.until {
            all = all.add(Column::CreatedAt.lt(time));
        }
        if let Some(country) = &self.country {
            let mut any = Condition::any();
            for name in names(country) {
                // Words have neither of LIKE's wildcards in them.
                any = any.add(Column::AddressWords.like(format!("% {name}")));
            }
            // An empty condition would let everyone pass.
            if any.is_empty() {
                return None;
            }
            all = all.add(any);
        }
        Some(users.filter(all))
    }
}

pub(super) fn sorted(mut users: Select<Entity>, sort: &[Sort]) -> Select<Entity> {
    for Sort { by, descending } in sort {
        let column = match by {
            SortBy::Email => Column::Email,
            SortBy::LastName => Column::LastName,
        };
        users = users.order_by(column, if *descending { Order::Desc } else { Order::Asc });
    }
    users.order_by_asc(Column::Id)
}

/// Whether a text is part of a column. Unlike LIKE this knows no wildcards.
fn contains(backend: DbBackend, column: Column, text: String) -> Expr {
    let (column, text) = (Expr::col(column), Expr::value(text));
    match backend {
        DbBackend::Postgres => Expr::cust_with_exprs("strpos($1, $2)", [column, text]),
        _ => Expr::cust_with_exprs("instr(?, ?)", [column, text]),
    }
    .gt(0)
}

/// What an address may end with if it is in this country, as [`words`] has it.
fn names(country: &str) -> Vec<String> {
    let given = words(country);
    // Longer than any address is.
    if given.is_empty() || given.len() > 1024 {
        return Vec::new();
    }
    let known = Country::from_code(country.trim()).or_else(|| Country::from_name(country.trim()));
    let known = known
        .iter()
        .flat_map(|known| [words(known.name()), words(known.code())]);
    let mut names: Vec<_> = std::iter::once(given)
        .chain(known)
        .map(|name| name.trim_start().to_owned())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// For comparisons that do not look at the case.
pub(super) fn fold(text: &str) -> String {
    text.to_lowercase()
}

/// The words of a text in lower case, each with a space before it.
pub(super) fn words(text: &str) -> String {
    text.split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .flat_map(|word| [" ".to_owned(), fold(word)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_words() {
        assert_eq!(words(""), "");
        assert_eq!(words("  — %_ "), "");
        assert_eq!(
            words("Bahnhofstr. 1, 8001 ZÜRICH (Switzerland)"),
            " bahnhofstr 1 8001 zürich switzerland"
        );
    }

    #[test]
    fn a_country_goes_by_its_name_and_its_code() {
        for spelling in ["CH", "ch", "Switzerland", " switzerland "] {
            assert_eq!(names(spelling), ["ch", "switzerland"], "{spelling}");
        }
        assert_eq!(names("GB"), ["gb", "united kingdom"]);
        assert_eq!(names("Suisse"), ["suisse"]);
        assert!(names(" %").is_empty());
    }
}
