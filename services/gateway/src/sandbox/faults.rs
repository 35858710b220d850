use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use tidings_domain::ChannelName;

use super::{Refusal, Sandbox};
use crate::contracts::Body;

/// In milliseconds.
const LONGEST_DELAY: u64 = 60_000;
/// In seconds.
const LONGEST_PAUSE: u32 = 86_400;

/// How the sandbox is to fail, as it is told and as it shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Instructions {
    /// Both channels fail without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<String>,
    /// What is answered instead of taking the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// How much later the answer comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_ms: Option<u64>,
    /// Of so many in a hundred messages, evenly spread.
    #[serde(skip_serializing_if = "Option::is_none")]
    percentage: Option<u8>,
    /// In seconds, together with a status.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u32>,
}

/// What befalls one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) status: Option<StatusCode>,
    pub(super) delay: Duration,
    pub(super) retry_after: Option<u32>,
}

/// What it was told, if anything.
#[derive(Debug, Default)]
pub(super) struct Faults {
    instructions: Instructions,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    channel: Option<ChannelName>,
    percentage: u32,
    /// Grows by the percentage with each message; at 100 a fault is due.
    due: u32,
    fault: Fault,
}

impl Faults {
    fn told(instructions: Instructions) -> Result<Self, String> {
        let channel = match &instructions.channel {
            Some(channel) => Some(channel.parse::<ChannelName>().map_err(|invalid| invalid.to_string())?),
            None => None,
        };
        if instructions.status.is_none() && instructions.delay_ms.is_none() {
            return Err("there must be a status, a delay_ms or both".to_owned());
        }
        if instructions.status.is_some_and(|status| !(400..=599).contains(&status)) {
            return Err("status must be from 400 to 599".to_owned());
        }
        if instructions.delay_ms.is_some_and(|delay| delay > LONGEST_DELAY) {
            return Err(format!("delay_ms must be at most {LONGEST_DELAY}"));
        }
        if instructions
            .percentage
            .is_some_and(|percentage| !(1..=100).contains(&percentage))
        {
            return Err("percentage must be from 1 to 100".to_owned());
        }
        if instructions.retry_after.is_some_and(|pause| pause > LONGEST_PAUSE) {
            return Err(format!("retry_after must be at most {LONGEST_PAUSE}"));
        }
        if instructions.retry_after.is_some() && instructions.status.is_none() {
            return Err("retry_after goes with a status".to_owned());
        }
        let fault = Fault {
            status: instructions.status.and_then(|status| StatusCode::from_u16(status).ok()),
            delay: Duration::from_millis(instructions.delay_ms.unwrap_or_default()),
            retry_after: instructions.retry_after,
        };
        let current = Current {
            channel,
            percentage: instructions.percentage.unwrap_or(100).into(),
            due: 0,
            fault,
        };
        Ok(Self {
            instructions,
            current: Some(current),
        })
    }

    /// What befalls the next message of this channel.
    pub(super) fn befalls(&mut self, channel: ChannelName) -> Option<Fault> {
        let current = self.current.as_mut()?;
        if current.channel.is_some_and(|only| only != channel) {
            return None;
        }
        current.due += current.percentage;
        if current.due < 100 {
            return None;
        }
        current.due -= 100;
        Some(current.fault)
    }
}

pub(super) async fn set(
    request: HttpRequest,
    payload: web::Payload,
    sandbox: web::Data<Sandbox>,
) -> Result<HttpResponse, Refusal> {
    let body = Body::read(request.headers(), payload.into_inner()).await?;
    let instructions = serde_json::from_slice(body.bytes());
    let instructions = instructions.map_err(|error| Refusal::Bad(format!("the body cannot be read: {error}")))?;
    let faults = Faults::told(instructions).map_err(Refusal::Bad)?;
    let answer = HttpResponse::Ok().json(&faults.instructions);
    *sandbox.faults() = faults;
    Ok(answer)
}

pub(super) async fn show(sandbox: web::Data<Sandbox>) -> HttpResponse {
    HttpResponse::Ok().json(&sandbox.faults().instructions)
}

pub(super) async fn clear(sandbox: web::Data<Sandbox>) -> HttpResponse {
    *sandbox.faults() = Faults::default();
    HttpResponse::NoContent().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(instructions: serde_json::Value) -> Result<Faults, String> {
        Faults::told(serde_json::from_value(instructions).unwrap())
    }

    #[test]
    fn faults_are_spread_evenly_over_what_they_are_for() {
        let mut faults = told(serde_json::json!({"channel": "sms", "status": 503, "percentage": 30})).unwrap();
        let befallen: Vec<_> = (0..20).map(|_| faults.befalls(ChannelName::Sms).is_some()).collect();
        assert_eq!(befallen.iter().filter(|befallen| **befallen).count(), 6);
        assert!(befallen.windows(3).all(|few| few != [true; 3]), "{befallen:?}");
        assert_eq!(faults.befalls(ChannelName::Email), None);
        assert_eq!(Faults::default().befalls(ChannelName::Sms), None);
    }

    #[test]
    fn without_a_percentage_everything_fails() {
        let mut faults = told(serde_json::json!({"delay_ms": 5})).unwrap();
        for channel in ChannelName::ALL {
            let fault = faults.befalls(*channel).unwrap();
            assert_eq!((fault.status, fault.delay), (None, Duration::from_millis(5)));
        }
    }
}
