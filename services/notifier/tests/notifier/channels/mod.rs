//! Each way to reach people, against a server that speaks the protocol. None of them can leave this machine:
//! the resolver that the channels are given admits loopback alone.

mod foreign;
mod http;
mod mail_server;
mod smtp;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tidings_domain::{ChannelName, NotificationId, SystemClock};
use tidings_events::Origin;
use tidings_notifier::channels::{
    self, Again, Channel, EmailProvider, Failure, Letter, MailServer, OpenError, Providers,
};
use tidings_runtime::reach::{Names, Reach, Resolver};

const AMPLE: Duration = Duration::from_secs(20);
/// For attempts that are meant to run into their deadline.
const SHORT: Duration = Duration::from_millis(300);

fn providers() -> Providers {
    Providers {
        email: None,
        sms: None,
        resolver: Reach::loopback().into(),
        clock: Arc::new(SystemClock),
    }
}

fn mail(url: &str) -> Result<Arc<dyn Channel>, OpenError> {
    mail_from(url, "Kits <kits@example.com>")
}

fn mail_from(url: &str, from: &str) -> Result<Arc<dyn Channel>, OpenError> {
    let server = MailServer {
        url: url.into(),
        from: from.to_owned(),
    };
    let channels = channels::open(Providers {
        email: Some(EmailProvider::Smtp(server)),
        ..providers()
    })?;
    Ok(channels[&ChannelName::Email].clone())
}

fn letter(recipient: &str) -> Letter {
    Letter {
        id: NotificationId::generate(&SystemClock),
        recipient: recipient.to_owned(),
        subject: "Your order".to_owned(),
        message: "Hi Odile Deray, your order has been successfully placed.".to_owned(),
        origin: Origin::own("notifier", &SystemClock),
    }
}

/// What an attempt failed with, which is tried again if `again`.
fn failed(outcome: Result<channels::Receipt, Failure>, again: bool) -> String {
    let failure = outcome.unwrap_err();
    assert_eq!(matches!(failure.again, Again::Later(_)), again, "{failure:?}");
    failure.answer
}

/// Knows every name to be outside.
#[derive(Debug)]
struct Outside;

impl Names for Outside {
    fn addresses<'a>(&'a self, _: &'a str) -> BoxFuture<'a, std::io::Result<Vec<IpAddr>>> {
        Box::pin(async {
            Ok(vec![
                "8.8.8.8".parse().unwrap(),
                "2001:4860:4860::8888".parse().unwrap(),
            ])
        })
    }
}

/// One like that of all these tests, but for where it finds names.
fn held_to_loopback() -> Resolver {
    Resolver::new(Reach::loopback(), Arc::new(Outside))
}
