//! Real mail, handed to a mail server by SMTP, on a connection for each.
//!
//! Guaranteed:
//! - The deadline covers everything: the name's resolution, the connection, TLS, the login and the mail.
//! - `Message-ID` is the letter's id at the sender's domain, the same for every attempt, so that a mail which
//!   arrived twice can be told from two.
//! - Where TLS is asked for, nothing is sent before it is there and the certificate is the server's.
//! - Neither recipient nor subject can add a header or a command: an address is one or the letter is refused,
//!   and everything else is encoded.
//!
//! Not guaranteed: that TLS is used where it is only opportunistic and somebody on the way says that the
//! server has none.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use futures_util::future::BoxFuture;
use lettre::message::{Mailbox, Message, SinglePart};
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{self, SMTP_PORT, SUBMISSION_PORT, SUBMISSIONS_PORT};
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use tidings_domain::Clock;
use tidings_runtime::http_client::{Url, install_crypto_provider};
use tidings_runtime::reach::Resolver;
use tokio::time::timeout;

use super::answer::shown;
use super::{Again, Channel, Failure, Letter, OpenError, Receipt};

/// For a server to say goodbye after it has taken a mail. Nobody waits for that.
const GOODBYE: Duration = Duration::from_secs(2);

/// Where mail is handed over.
#[derive(Debug, Clone)]
pub struct MailServer {
    /// `smtps://…`, `smtp://…?tls=required`, `smtp://…?tls=opportunistic` or `smtp://…`, with
    /// `user:password@` before the host if it asks for a login.
    pub url: SecretString,
    /// Whom mail comes from, as `Name <address>`.
    pub from: String,
}

pub(super) struct SmtpChannel {
    host: String,
    port: u16,
    security: Security,
    hello: ClientId,
    login: Option<Login>,
    from: Mailbox,
    resolver: Resolver,
    clock: Arc<dyn Clock>,
}

/// What becomes of a connection before anything is said on it that matters.
enum Security {
    Plain,
    StartTls { tls: TlsParameters, required: bool },
    Tls(TlsParameters),
}

struct Login {
    credentials: Credentials,
    /// What must not be shown, however a server comes to repeat it: the password as it is, and as it is sent.
    secrets: Vec<SecretString>,
}

impl SmtpChannel {
    pub(super) fn new(server: &MailServer, resolver: Resolver, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let refused = |reason: &dyn fmt::Display| OpenError::new("EMAIL_SMTP_URL", reason);
        let url = Url::parse(server.url.expose_secret()).map_err(|error| refused(&error))?;
        let host = url.host_str().ok_or_else(|| refused(&"the URL must name a host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let (security, port) = security(&url, &host)?;
        let name = url.path().trim_matches('/');
        Ok(Self {
            port: url.port().unwrap_or(port),
            security,
            hello: match name {
                "" => ClientId::default(),
                name => ClientId::Domain(name.to_owned()),
            },
            login: login(&url)?,
            from: sender(&server.from)?,
            host,
            resolver,
            clock,
        })
    }

    async fn attempt(&self, letter: &Letter) -> Result<Receipt, Failure> {
        let mail = self.mail(letter)?;
        let sent = async {
            let mut connection = self.connect().await?;
            let reply = connection.send(mail.envelope(), &mail.formatted()).await;
            let reply = reply.map_err(|error| self.failed(&error))?;
            // The mail is taken, whatever becomes of the connection.
            tokio::spawn(async move { timeout(GOODBYE, connection.quit()).await });
            Ok(reply)
        };
        let reply = sent.await?;
        let said: Vec<_> = reply.message().collect();
        Ok(Receipt {
            answer: self.shown(&format!("{}: {}", reply.code(), said.join(" "))),
        })
    }

    fn mail(&self, letter: &Letter) -> Result<Message, Failure> {
        let refused = |reason: String| Failure {
            answer: reason,
            again: Again::Never,
        };
        let to = letter.recipient.parse();
        let to = to.map_err(|error| refused(format!("mail cannot be sent to this address: {error}")))?;
        Message::builder()
            .message_id(Some(format!("<{}@{}>", letter.id, self.from.email.domain())))
            .date(self.clock.now().into())
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(&letter.subject)
            .singlepart(SinglePart::plain(letter.message.clone()))
            .map_err(|error| refused(format!("the mail cannot be written: {error}")))
    }

    /// A connection on which mail can be sent.
    async fn connect(&self) -> Result<AsyncSmtpConnection, Failure> {
        let addresses = self.resolver.resolve(&self.host).await;
        let addresses = addresses.map_err(|error| self.later(&error))?;
        let sockets: Vec<_> = addresses
            .into_iter()
            .map(|address| SocketAddr::new(address, self.port))
            .collect();
        let tls = match &self.security {
            Security::Tls(tls) => Some(tls.clone()),
            Security::Plain | Security::StartTls { .. } => None,
        };
        let open = async {
            let mut connection =
                AsyncSmtpConnection::connect_tokio1(&sockets[..], None, &self.hello, tls, None).await?;
            if let Security::StartTls { tls, required } = &self.security
                && (*required || connection.can_starttls())
            {
                connection.starttls(tls.clone(), &self.hello).await?;
            }
            if let Some(login) = &self.login {
                connection.auth(DEFAULT_MECHANISMS, &login.credentials).await?;
            }
            Ok(connection)
        };
        open.await.map_err(|error: smtp::Error| self.failed(&error))
    }

    fn failed(&self, error: &smtp::Error) -> Failure {
        let cause = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source()).last();
        let cause = cause.map(ToString::to_string).unwrap_or_default();
        match error.status() {
            Some(code) => Failure {
                answer: self.shown(&format!("{code}: {cause}")),
                again: if error.is_permanent() {
                    Again::Never
                } else {
                    Again::Later(None)
                },
            },
            None => self.later(&cause),
        }
    }

    fn later(&self, reason: &dyn fmt::Display) -> Failure {
        Failure {
            answer: self.shown(&format!("no mail could be handed to {}: {reason}", self.host)),
            again: Again::Later(None),
        }
    }

    fn shown(&self, said: &str) -> String {
        let secrets = self.login.iter().flat_map(|login| &login.secrets);
        shown(said, secrets.map(ExposeSecret::expose_secret))
    }
}

fn security(url: &Url, host: &str) -> Result<(Security, u16), OpenError> {
    let tls = || {
        install_crypto_provider();
        TlsParameters::new(host.to_owned()).map_err(|error| OpenError::new("EMAIL_SMTP_URL", error))
    };
    let asked = url.query_pairs().find(|(name, _)| name == "tls");
    Ok(match (url.scheme(), asked.as_ref().map(|(_, value)| &value[..])) {
        ("smtps", None) => (Security::Tls(tls()?), SUBMISSIONS_PORT),
        ("smtp", None) => (Security::Plain, SMTP_PORT),
        ("smtp", Some(how @ ("required" | "opportunistic"))) => {
            let (tls, required) = (tls()?, how == "required");
            (Security::StartTls { tls, required }, SUBMISSION_PORT)
        }
        _ => {
            return Err(OpenError::new(
                "EMAIL_SMTP_URL",
                "the URL must begin with smtp:// or smtps://, and smtp:// may end with ?tls=required or ?tls=opportunistic",
            ));
        }
    })
}

fn login(url: &Url) -> Result<Option<Login>, OpenError> {
    let Some(password) = url.password() else {
        return Ok(None);
    };
    let decoded = |text| {
        let decoded = percent_decode_str(text).decode_utf8();
        decoded.map_err(|_| OpenError::new("EMAIL_SMTP_URL", "the login is not percent-encoded UTF-8"))
    };
    let (user, password) = (decoded(url.username())?, decoded(password)?);
    let secrets = vec![
        BASE64_STANDARD.encode(format!("\0{user}\0{password}")).into(),
        BASE64_STANDARD.encode(&*password).into(),
        password.to_string().into(),
    ];
    Ok(Some(Login {
        credentials: Credentials::new(user.into_owned(), password.into_owned()),
        secrets,
    }))
}

/// Its address goes into every `Message-ID`, and not every server takes others than ASCII there.
fn sender(text: &str) -> Result<Mailbox, OpenError> {
    let unusable = |reason: &dyn fmt::Display| OpenError::new("EMAIL_FROM", reason);
    let sender: Mailbox = text
        .parse()
        .map_err(|error: lettre::address::AddressError| unusable(&error))?;
    if sender.email.to_string().is_ascii() {
        return Ok(sender);
    }
    Err(unusable(&"the address must be ASCII: write a domain as xn--…"))
}

impl Channel for SmtpChannel {
    fn send<'a>(&'a self, letter: &'a Letter, deadline: Duration) -> BoxFuture<'a, Result<Receipt, Failure>> {
        Box::pin(async move {
            let late = |_| {
                let deadline = humantime::format_duration(deadline);
                Err(self.later(&format!("it was not done within {deadline}")))
            };
            timeout(deadline, self.attempt(letter)).await.unwrap_or_else(late)
        })
    }
}

impl fmt::Debug for SmtpChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpChannel")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}
