use std::time::Instant;

use tidings_domain::ChannelName;
use tidings_notifier::channels::{self, EmailProvider, MailServer as Account, Providers};
use tokio::net::TcpListener;

use super::mail_server::{MailServer, Quirk};
use super::{AMPLE, SHORT, failed, held_to_loopback, letter, mail, mail_from, providers};

#[tokio::test]
async fn a_letter_becomes_a_mail_that_is_the_same_each_time() {
    let server = MailServer::start(Quirk::None).await;
    let channel = mail(&server.url()).unwrap();
    let letter = letter("odile@example.org");
    for _ in 0..2 {
        let receipt = channel.send(&letter, AMPLE).await.unwrap();
        assert_eq!(receipt.answer, "250: 2.0.0 taken as 4711");
    }
    let said = server.said();
    for line in [
        "MAIL FROM:<kits@example.com>",
        "RCPT TO:<odile@example.org>",
        "From: Kits <kits@example.com>",
        "To: odile@example.org",
        "Subject: Your order",
        &format!("Message-ID: <{}@example.com>", letter.id),
        &letter.message,
    ] {
        assert_eq!(said.iter().filter(|said| *said == line).count(), 2, "{line}: {said:#?}");
    }
    assert!(said.iter().any(|line| line.starts_with("Date: ")), "{said:#?}");
}

#[tokio::test]
async fn what_the_server_replies_decides_whether_to_try_again() {
    for (place, reply, again) in [
        ("greeting", "554 5.3.2 not today", false),
        ("greeting", "421 4.3.2 too many", true),
        ("MAIL", "550 5.7.1 not from there", false),
        ("MAIL", "451 4.7.1 greylisted", true),
        ("RCPT", "550 5.1.1 no such mailbox", false),
        ("RCPT", "452 4.2.2 mailbox full", true),
        ("DATA", "554 5.5.1 no", false),
        ("mail", "552-5.2.3 too large,\r\n552 5.2.3 really", false),
        ("mail", "451 4.3.0 later", true),
    ] {
        let server = MailServer::start(Quirk::Says(place, reply)).await;
        let channel = mail(&server.url()).unwrap();
        let answer = failed(channel.send(&letter("odile@example.org"), AMPLE).await, again);
        assert!(answer.starts_with(&format!("{}: ", &reply[..3])), "{answer}");
        assert!(answer.contains(&reply[4..9]) && !answer.contains('\n'), "{answer}");
    }
}

#[tokio::test]
async fn a_server_that_hangs_or_drips_ends_at_the_deadline() {
    for quirk in [
        Quirk::Hangs("greeting"),
        Quirk::Drips("greeting"),
        Quirk::Hangs("EHLO"),
        Quirk::Drips("RCPT"),
        Quirk::Hangs("mail"),
    ] {
        let server = MailServer::start(quirk).await;
        let channel = mail(&server.url()).unwrap();
        let begun = Instant::now();
        let answer = failed(channel.send(&letter("odile@example.org"), SHORT).await, true);
        assert!(begun.elapsed() >= SHORT && begun.elapsed() < AMPLE, "{quirk:?}");
        assert_eq!(
            answer, "no mail could be handed to 127.0.0.1: it was not done within 300ms",
            "{quirk:?}"
        );
    }
}

#[tokio::test]
async fn who_has_taken_a_mail_need_not_say_goodbye() {
    for quirk in [Quirk::Hangs("QUIT"), Quirk::Closes("QUIT")] {
        let server = MailServer::start(quirk).await;
        let channel = mail(&server.url()).unwrap();
        let begun = Instant::now();
        channel.send(&letter("odile@example.org"), AMPLE).await.unwrap();
        assert!(begun.elapsed() < AMPLE);
    }
}

#[tokio::test]
async fn a_server_that_closes_or_is_away_is_tried_again() {
    for place in ["greeting", "EHLO", "RCPT", "mail"] {
        let server = MailServer::start(Quirk::Closes(place)).await;
        let channel = mail(&server.url()).unwrap();
        failed(channel.send(&letter("odile@example.org"), AMPLE).await, true);
    }
    // Bound and dropped again: nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let channel = mail(&format!("smtp://user:hidden@127.0.0.1:{port}")).unwrap();
    let answer = failed(channel.send(&letter("odile@example.org"), AMPLE).await, true);
    assert!(answer.contains("refused") && !answer.contains("hidden"), "{answer}");
}

#[tokio::test]
async fn nothing_adds_a_header_or_a_command() {
    let server = MailServer::start(Quirk::None).await;
    let channel = mail(&server.url()).unwrap();
    for recipient in [
        "odile@example.org\r\nRCPT TO:<other@example.org>",
        "odile@example.org>\r\nDATA",
        "odile@exam ple.org",
        "odile",
        "",
    ] {
        let answer = failed(channel.send(&letter(recipient), AMPLE).await, false);
        assert!(answer.starts_with("mail cannot be sent to this address"), "{answer}");
    }
    assert_eq!(server.said(), [""; 0]);

    let mut letter = letter("odile@example.org");
    letter.subject = "Your order\r\nBcc: other@example.org\r\n\r\nand more".to_owned();
    letter.message = "first\r\n.\r\nMAIL FROM:<other@example.org>\r\n".to_owned();
    channel.send(&letter, AMPLE).await.unwrap();
    let said = server.said();
    assert!(!said.iter().any(|line| line.starts_with("Bcc")), "{said:#?}");
    let end = said.iter().position(|line| line == ".").unwrap();
    assert!(said[..end].iter().any(|line| line == ".."), "{said:#?}");
    assert!(
        said[..end].iter().any(|line| line.starts_with("MAIL FROM:<other")),
        "{said:#?}"
    );
}

#[tokio::test]
async fn a_password_is_said_to_the_server_and_to_nobody_else() {
    // As `AUTH PLAIN` has it, and the password alone.
    let coded = ["AHVzZXIAaGlkZGVuIHdvcmQ=", "aGlkZGVuIHdvcmQ="];
    let reply = "535 5.7.8 hidden word AHVzZXIAaGlkZGVuIHdvcmQ= aGlkZGVuIHdvcmQ= is wrong";
    let server = MailServer::start(Quirk::Says("AUTH", reply)).await;
    let channel = mail(&format!("smtp://user:hidden%20word@127.0.0.1:{}", server.port)).unwrap();
    let answer = failed(channel.send(&letter("odile@example.org"), AMPLE).await, false);
    assert_eq!(answer, "535: 5.7.8 … … … is wrong");
    assert!(
        server.said().contains(&format!("AUTH PLAIN {}", coded[0])),
        "{:?}",
        server.said()
    );
    assert!(!format!("{channel:?}").contains("hidden"));
}

#[tokio::test]
async fn where_tls_is_asked_for_nothing_is_said_without_it() {
    let server = MailServer::start(Quirk::None).await;
    let channel = mail(&format!("smtp://user:hidden@127.0.0.1:{}?tls=required", server.port)).unwrap();
    let answer = failed(channel.send(&letter("odile@example.org"), AMPLE).await, true);
    assert!(answer.contains("STARTTLS is not supported"), "{answer}");
    let said = server.said();
    assert!(
        !said
            .iter()
            .any(|line| line.starts_with("AUTH") || line.starts_with("MAIL")),
        "{said:?}"
    );

    let channel = mail(&format!("smtps://127.0.0.1:{}", server.port)).unwrap();
    failed(channel.send(&letter("odile@example.org"), AMPLE).await, true);
    let channel = mail(&format!("{}?tls=opportunistic", server.url())).unwrap();
    channel.send(&letter("odile@example.org"), AMPLE).await.unwrap();
}

#[test]
fn what_cannot_be_used_is_refused_by_the_name_of_its_setting() {
    for url in [
        "mail.example",
        "http://mail.example",
        "smtp://mail.example?tls=maybe",
        "smtps://mail.example?tls=required",
        "smtp://user:%ff@mail.example",
    ] {
        let refused = mail(url).unwrap_err().to_string();
        assert!(refused.starts_with("EMAIL_SMTP_URL: "), "{url}: {refused}");
    }
    for from in ["Kits", "Kits <kits@example.com", "kits@exämple.com"] {
        let refused = mail_from("smtp://127.0.0.1", from).unwrap_err().to_string();
        assert!(refused.starts_with("EMAIL_FROM: "), "{from}: {refused}");
    }
    // What development has by default.
    mail_from("smtp://127.0.0.1", "Tidings <tidings@localhost>").unwrap();
}

#[tokio::test]
async fn no_test_gets_to_a_mail_server_outside() {
    for host in ["8.8.8.8", "[2001:4860:4860::8888]", "mail.example"] {
        let server = Account {
            url: format!("smtp://{host}").into(),
            from: "kits@example.com".to_owned(),
        };
        let channels = channels::open(Providers {
            email: Some(EmailProvider::Smtp(server)),
            resolver: held_to_loopback(),
            ..providers()
        });
        let channels = channels.unwrap();
        let letter = letter("odile@example.org");
        let answer = failed(channels[&ChannelName::Email].send(&letter, AMPLE).await, true);
        assert!(answer.contains("outside the networks that may be reached"), "{answer}");
    }
}
