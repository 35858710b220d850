use std::time::Duration;

/// How many requests are let through in how much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// As many can come at once.
    pub requests: u32,
    /// For all of them to be granted again.
    pub per: Duration,
}

/// Takes `600/1m`, and `off` for no limit.
pub(super) fn parse(text: &str) -> Result<Option<RateLimit>, String> {
    let text = text.trim();
    if text == "off" {
        return Ok(None);
    }
    let refused = || {
        format!(
            "`{}` is neither off nor a number of requests, a slash and a time of one second to one day",
            text.escape_debug()
        )
    };
    let (requests, per) = text.split_once('/').ok_or_else(refused)?;
    let digits = requests.bytes().all(|byte| byte.is_ascii_digit());
    let requests = requests
        .parse()
        .ok()
        .filter(|requests| digits && (1..=1_000_000).contains(requests));
    let per = humantime::parse_duration(per)
        .ok()
        .filter(|per| (Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60)).contains(per));
    let limit = requests.zip(per).map(|(requests, per)| RateLimit { requests, per });
    limit.map(Some).ok_or_else(refused)
}
