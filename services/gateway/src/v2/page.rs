//! Lists by cursors: a page is found by the id that it begins after or ends before, so that it costs the same
//! however far in the list it is, and nothing is shown twice or left out when something is added meanwhile.

use std::fmt::Display;
use std::str::FromStr;

use actix_web::http::header::LINK;
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::Value;
use tidings_storage::Place;

use super::Refusal;
use super::problem::base;

const DEFAULT: u64 = 25;
const LARGEST: u64 = 200;

/// The page that someone asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked<I> {
    pub(super) place: Place<I>,
    limit: u64,
}

#[derive(Serialize)]
struct Form {
    data: Vec<Value>,
    next_cursor: Option<String>,
    prev_cursor: Option<String>,
}

impl<I: FromStr + Display + Copy> Asked<I> {
    /// Reads `?limit=&cursor=`.
    pub(super) fn read(query: &str) -> Result<Self, Refusal> {
        let mut asked = Self {
            place: Place::Start,
            limit: DEFAULT,
        };
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=LARGEST).contains(limit));
                    let message = format!("must be a number from 1 to {LARGEST}");
                    asked.limit = limit.ok_or_else(|| Refusal::fault("?limit", "out-of-range", message))?;
                }
                "cursor" => {
                    let message = "must be a cursor that a page of this list gave";
                    asked.place = decode(&value).ok_or_else(|| Refusal::fault("?cursor", "not-a-cursor", message))?;
                }
                _ => {}
            }
        }
        Ok(asked)
    }

    /// How many rows to look for: one more than are shown tells whether there are more.
    pub(super) fn rows(&self) -> u64 {
        self.limit + 1
    }

    /// Answers the page from what was found there, in the order of the list.
    pub(super) fn answer<T>(
        &self,
        request: &HttpRequest,
        mut found: Vec<T>,
        id: impl Fn(&T) -> I,
        show: impl Fn(&T) -> Result<Value, Refusal>,
    ) -> Result<HttpResponse, Refusal> {
        let more = found.len() as u64 > self.limit;
        let backwards = matches!(self.place, Place::Before(_));
        if more {
            match backwards {
                true => drop(found.remove(0)),
                false => drop(found.pop()),
            }
        }
        let (earlier, later) = match self.place {
            Place::Start => (false, more),
            Place::After(_) => (true, more),
            Place::Before(_) => (more, true),
        };
        let next = found.last().filter(|_| later).map(|last| encode('a', id(last)));
        let prev = found.first().filter(|_| earlier).map(|first| encode('b', id(first)));
        let mut answer = HttpResponse::Ok();
        for (rel, cursor) in [("next", &next), ("prev", &prev)] {
            if let Some(cursor) = cursor {
                let link = format!(
                    "<{}{}?limit={}&cursor={cursor}>; rel=\"{rel}\"",
                    base(request),
                    request.path(),
                    self.limit
                );
                answer.append_header((LINK, link));
            }
        }
        Ok(answer.json(Form {
            data: found.iter().map(show).collect::<Result<_, _>>()?,
            next_cursor: next,
            prev_cursor: prev,
        }))
    }
}

fn encode(direction: char, id: impl Display) -> String {
    URL_SAFE_NO_PAD.encode(format!("{direction}{id}"))
}

fn decode<I: FromStr>(cursor: &str) -> Option<Place<I>> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let mut characters = text.chars();
    let direction = characters.next()?;
    let id = characters.as_str().parse().ok()?;
    match direction {
        'a' => Some(Place::After(id)),
        'b' => Some(Place::Before(id)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidings_domain::ApiKeyId;

    use super::*;

    #[test]
    fn a_page_is_asked_for_in_bounds() {
        let read = |query: &str| Asked::<ApiKeyId>::read(query);
        assert_eq!(read("").unwrap().limit, 25);
        assert_eq!(read("limit=200&other=1").unwrap().rows(), 201);
        for bad in [
            "limit=0",
            "limit=201",
            "limit=-1",
            "limit=x",
            "limit=",
            "cursor=",
            "cursor=x",
            "cursor=YQ",
        ] {
            assert!(matches!(read(bad), Err(Refusal::Invalid(_))), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_cursor_is_read_as_it_was_given(id in any::<u128>(), back in any::<bool>()) {
            let id = ApiKeyId::from(uuid::Uuid::from_u128(id));
            let expected = if back { Place::Before(id) } else { Place::After(id) };
            prop_assert_eq!(decode(&encode(if back { 'b' } else { 'a' }, id)), Some(expected));
        }

        #[test]
        fn no_query_panics(query in ".*", cursor in "[A-Za-z0-9_-]*") {
            let _ = Asked::<ApiKeyId>::read(&query);
            let _ = Asked::<ApiKeyId>::read(&format!("cursor={cursor}"));
        }
    }
}
