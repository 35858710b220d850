//! Stands in for the providers of email and SMS where none is set: takes what they would take, under the
//! tokens that they would ask for, and shows it to whoever wants to see.
//!
//! Guaranteed: it answers as a provider does, with the same checks. What it is sent again under the same
//! `Idempotency-Key` is the same entry, with its count raised.
//!
//! Not guaranteed: that what was sent stays. It is in memory, the newest [`KEPT`] entries and [`ROOM`] bytes
//! of it, and ends with the process.
//!
//! It is for development: anybody who reaches the gateway can read its outbox and tell it to fail.

mod deliveries;
mod faults;
mod outbox;
mod refusal;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::http::Method;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{HttpRequest, web};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tidings_domain::Clock;

use self::faults::Faults;
use self::outbox::Outbox;
use self::refusal::Refusal;
use crate::contracts::{Methods, allowed, resource};

#[cfg(doc)]
use self::outbox::{KEPT, ROOM};

/// What the sandbox asks of those who send by it.
#[derive(Debug)]
pub struct SandboxTokens {
    pub email: SecretString,
    pub sms: SecretString,
}

/// One for all workers of a gateway.
#[derive(Debug)]
pub(crate) struct Sandbox {
    tokens: SandboxTokens,
    clock: Arc<dyn Clock>,
    outbox: Mutex<Outbox>,
    faults: Mutex<Faults>,
}

fn operations() -> Vec<(&'static str, Methods)> {
    vec![
        (
            "/sandbox/email-delivery-service",
            vec![(Method::POST, web::to(deliveries::email))],
        ),
        (
            "/sandbox/sms-delivery-service",
            vec![(Method::POST, web::to(deliveries::sms))],
        ),
        (
            "/sandbox/outbox",
            vec![
                (Method::GET, web::to(outbox::list)),
                (Method::DELETE, web::to(outbox::clear)),
            ],
        ),
        (
            "/sandbox/faults",
            vec![
                (Method::GET, web::to(faults::show)),
                (Method::PUT, web::to(faults::set)),
                (Method::DELETE, web::to(faults::clear)),
            ],
        ),
    ]
}

/// Adds the sandbox. Every path is also answered with a slash at its end.
pub(crate) fn routes(sandbox: web::Data<Sandbox>) -> impl FnOnce(&mut web::ServiceConfig) {
    move |app| {
        app.app_data(sandbox);
        for (path, methods) in operations() {
            let allow = allowed(&methods);
            let refuse = web::to(move || {
                let allow = allow.clone();
                async move { Refusal::MethodNotAllowed { allow } }
            });
            let paths = vec![path.to_owned(), format!("{path}/")];
            app.service(resource::<Refusal>(paths, methods).default_service(refuse));
        }
    }
}

impl Sandbox {
    pub(crate) fn new(tokens: SandboxTokens, clock: Arc<dyn Clock>) -> Self {
        Self {
            tokens,
            clock,
            outbox: Mutex::default(),
            faults: Mutex::default(),
        }
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the request carries this token, as `Authorization: Bearer <token>`.
fn carries(request: &HttpRequest, token: &SecretString) -> bool {
    let expected = format!("Bearer {}", token.expose_secret());
    let sent = request.headers().get(AUTHORIZATION);
    // Both sides being hashed, the comparison takes the same time whatever is sent.
    sent.is_some_and(|sent| {
        Sha256::digest(sent.as_bytes())
            .ct_eq(&Sha256::digest(expected.as_bytes()))
            .into()
    })
}
