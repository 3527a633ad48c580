//! E-mail: one message per recipient, threads per incident, text and HTML.
//!
//! Everything in a message follows from the delivery, so that a second attempt after an ambiguous
//! failure is the same message under the same Message-ID.

use std::time::{Duration, UNIX_EPOCH};

use lettre::address::Envelope;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Mailboxes, MultiPart, SinglePart, header};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::{AsyncSmtpTransport, AsyncSmtpTransportBuilder, PoolConfig};
use lettre::{Address, AsyncTransport, Message as Mail, Tokio1Executor};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::config::{Smtp, SmtpTls};

use super::outcome::{Next, SendError, Trouble};
use super::text::{self, Message};
use super::{Context, Sent, escape};

/// The mail transport could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    #[error("smtp.from is no mail address; write it like `burnwatch@example.com`")]
    From(#[source] lettre::address::AddressError),
    #[error("smtp.username would be sent without TLS; set smtp.tls to \"starttls\" or \"implicit\"")]
    PlainCredentials,
    #[error("cannot set up TLS for smtp.host")]
    Tls(#[source] lettre::transport::smtp::Error),
}

/// How the mail server is reached. A connection is made for each delivery and shared by its recipients: lettre's pool
/// spawns a task when it is dropped, which ends the process where no runtime is left.
#[derive(Clone)]
pub struct Mailer {
    builder: AsyncSmtpTransportBuilder,
    from: Mailbox,
}

impl std::fmt::Debug for Mailer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mailer")
    }
}

type Transport = AsyncSmtpTransport<Tokio1Executor>;

/// Who gets the mail.
pub(crate) struct Addresses<'a> {
    pub to: &'a [String],
    pub cc: &'a [String],
    pub reply_to: Option<&'a str>,
}

impl Mailer {
    /// Sets the transport up; connects to nothing yet.
    pub fn new(server: &Smtp) -> Result<Mailer, MailError> {
        Mailer::trusting(server, None)
    }

    /// Trusts another certificate authority as well.
    pub(super) fn trusting(server: &Smtp, root: Option<Certificate>) -> Result<Mailer, MailError> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let tls = || {
            let mut parameters = TlsParameters::builder(server.host.clone());
            if let Some(root) = root.clone() {
                parameters = parameters.add_root_certificate(root);
            }
            parameters.build_rustls().map_err(MailError::Tls)
        };
        let tls = match server.tls {
            SmtpTls::Starttls => Tls::Required(tls()?),
            SmtpTls::Implicit => Tls::Wrapper(tls()?),
            SmtpTls::None => Tls::None,
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(server.host.clone())
            .port(server.port)
            .timeout(Some(super::TIMEOUT_MAX.to_std()))
            .pool_config(PoolConfig::new().max_size(1))
            .tls(tls);
        if let (Some(username), Some(password)) = (&server.username, &server.password) {
            if server.tls == SmtpTls::None && !is_here(&server.host) {
                return Err(MailError::PlainCredentials);
            }
            builder = builder.credentials(Credentials::new(username.clone(), password.expose().to_owned()));
        }
        Ok(Mailer { builder, from: server.from.parse().map_err(MailError::From)? })
    }
}

/// Whether a host is this machine, so that nothing travels over a network.
fn is_here(host: &str) -> bool {
    host == "localhost"
        || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Sends to everybody who does not have this delivery yet.
pub(crate) async fn send(context: &Context<'_>, mailer: &Mailer, addresses: &Addresses<'_>) -> Result<Sent, SendError> {
    let recipients: Vec<&String> = addresses.to.iter().chain(addresses.cc).collect();
    let transport: Transport = mailer.builder.clone().build();
    let mut ledger = Ledger::open(context);
    let mut later: Option<SendError> = None;
    for recipient in &recipients {
        if ledger.is_settled(recipient) {
            continue;
        }
        match send_to(context, mailer, &transport, addresses, recipient).await {
            Ok(()) => ledger.done.push((*recipient).clone()),
            Err(error) => match error.next {
                Next::GiveUp { .. } => {
                    ledger.why = error.why;
                    ledger.refused.push((*recipient).clone());
                }
                Next::Retry { .. } if error.status.is_some() => later = Some(error),
                // The server is not there; the other recipients would only wait for it too.
                Next::Retry { .. } => return Err(SendError { progress: Some(ledger.to_json(context)), ..error }),
            },
        }
        context.done_so_far(ledger.to_json(context));
    }
    if let Some(error) = later {
        return Err(SendError { progress: Some(ledger.to_json(context)), ..error });
    }
    match (ledger.done.len(), ledger.refused.len()) {
        (0, 0) => Err(SendError::new(Trouble::Settings, "the email receiver has no recipients")),
        (0, _) => Err(SendError::new(Trouble::Final, format!("every recipient was refused: {}", ledger.why))),
        (_, 0) => Ok(Sent { status: Some(250), ..Sent::default() }),
        (done, refused) => {
            let note =
                format!("{refused} of {} recipients refused for good ({}): {}", done + refused, ledger.refused.join(", "), ledger.why);
            Ok(Sent { status: Some(250), reply: None, note: escape::clean(&note, 500) })
        }
    }
}

/// Who has this delivery, and who never will: kept over attempts, so that nobody gets it twice because of another.
struct Ledger {
    done: Vec<String>,
    refused: Vec<String>,
    why: String,
}

impl Ledger {
    fn open(context: &Context<'_>) -> Ledger {
        let mut ledger = Ledger { done: Vec::new(), refused: Vec::new(), why: String::new() };
        // What is left of another delivery says nothing about this one.
        if context.earlier_text("delivery") == Some(&context.delivery.id) {
            let list = |name: &str| -> Vec<String> {
                let items = context.earlier(name).and_then(Value::as_array);
                items.into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
            };
            ledger =
                Ledger { done: list("done"), refused: list("refused"), why: context.earlier_text("why").unwrap_or_default().to_owned() };
        }
        ledger
    }

    fn is_settled(&self, recipient: &str) -> bool {
        self.done.iter().chain(&self.refused).any(|known| known == recipient)
    }

    fn to_json(&self, context: &Context<'_>) -> Value {
        json!({ "delivery": context.delivery.id, "done": self.done, "refused": self.refused, "why": self.why })
    }
}

async fn send_to(
    context: &Context<'_>,
    mailer: &Mailer,
    transport: &Transport,
    addresses: &Addresses<'_>,
    recipient: &str,
) -> Result<(), SendError> {
    let to = mailbox(recipient)?;
    let mail = mail(context, mailer, addresses, recipient)?;
    let envelope = Envelope::new(Some(mailer.from.email.clone()), vec![to.email])
        .map_err(|error| SendError::new(Trouble::Settings, format!("the mail's envelope cannot be made: {error}")))?;
    match transport.send_raw(&envelope, &mail).await {
        Ok(_) => Ok(()),
        Err(error) => Err(refused(&error)),
    }
}

/// 5yz is final, everything else may be better later. A connection that drops after DATA is among the latter: the
/// server may have the mail, and the next attempt is the same message.
fn refused(error: &lettre::transport::smtp::Error) -> SendError {
    let why = escape::clean(&error.to_string(), 500);
    let status = error.status().map(u16::from);
    match status {
        Some(status) if error.is_permanent() => {
            SendError::answered(Trouble::Final, status, None, format!("the mail server refused it: {why}"))
        }
        Some(status) => SendError::answered(Trouble::Later, status, None, format!("the mail server asks to try later: {why}")),
        None if error.is_timeout() => SendError::new(Trouble::Deadline, format!("the mail server does not answer: {why}")),
        None => SendError::new(Trouble::Network, format!("no mail could be handed over: {why}")),
    }
}

fn mailbox(text: &str) -> Result<Mailbox, SendError> {
    let bad = || SendError::new(Trouble::Final, format!("`{}` is no mail address", escape::clean(text, 100)));
    if text.chars().any(char::is_control) {
        return Err(bad());
    }
    text.parse::<Mailbox>().or_else(|_| text.parse::<Address>().map(|email| Mailbox::new(None, email))).map_err(|_| bad())
}

/// The bytes of the message to one recipient.
fn mail(context: &Context<'_>, mailer: &Mailer, addresses: &Addresses<'_>, recipient: &str) -> Result<Vec<u8>, SendError> {
    let delivery = context.delivery;
    let message = context.answerable_message();
    let domain = mailer.from.email.domain();
    let hash = |text: &str, bytes: usize| hex::encode(&Sha256::digest(text)[..bytes]);
    let id = format!("<{}.{}@{domain}>", id_part(&delivery.id), hash(recipient, 8));
    // No message has this id. All of an incident refer to it, so they stand in one thread also for whoever did
    // not get the first one.
    let thread = format!("<{}.thread@{domain}>", id_part(&delivery.correlation));
    let date = UNIX_EPOCH + Duration::from_millis(u64::try_from(delivery.notification.timestamp.millis()).unwrap_or(0));

    let all = |texts: &[String]| -> Mailboxes { texts.iter().filter_map(|text| mailbox(text).ok()).collect() };
    let mut builder = Mail::builder()
        .from(mailer.from.clone())
        .mailbox(header::To::from(all(addresses.to)))
        .subject(escape::clean(&message.headline(), 240))
        .date(date)
        .message_id(Some(id))
        .in_reply_to(thread.clone())
        .references(thread);
    if !addresses.cc.is_empty() {
        builder = builder.mailbox(header::Cc::from(all(addresses.cc)));
    }
    if let Some(reply_to) = addresses.reply_to {
        builder = builder.reply_to(mailbox(reply_to)?);
    }
    let list = format!("<{}.burnwatch.{domain}>", id_part(&context.receiver.name));
    for (name, value) in
        [("Auto-Submitted", "auto-generated".to_owned()), ("X-Auto-Response-Suppress", "All".to_owned()), ("List-Id", list)]
    {
        builder = builder.raw_header(HeaderValue::new(HeaderName::new_from_ascii_str(name), value));
    }
    let part = |content: ContentType, body: String| {
        SinglePart::builder().header(content).header(ContentTransferEncoding::QuotedPrintable).body(body)
    };
    let parts = MultiPart::alternative()
        // The boundary, too, is equal in every attempt.
        .boundary(format!("burnwatch-{}", hash(&format!("{}\n{recipient}", delivery.id), 16)))
        .singlepart(part(ContentType::TEXT_PLAIN, plain(&message)))
        .singlepart(part(ContentType::TEXT_HTML, html(&message)));
    let envelope = Envelope::new(Some(mailer.from.email.clone()), vec![mailbox(recipient)?.email])
        .map_err(|error| SendError::new(Trouble::Settings, format!("the mail's envelope cannot be made: {error}")))?;
    let mail = builder.envelope(envelope).multipart(parts);
    Ok(mail.map_err(|error| SendError::new(Trouble::Settings, format!("the mail cannot be made: {error}")))?.formatted())
}

/// What may stand left of the @ in an id without quotes.
fn id_part(text: &str) -> String {
    let fine = !text.is_empty() && text.len() <= 100 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if fine { text.to_owned() } else { hex::encode(&Sha256::digest(text)[..16]) }
}

pub(super) fn plain(message: &Message) -> String {
    let mut text = format!("{}\n\n", message.headline());
    message.say_plain(&mut text);
    if !message.links.is_empty() {
        text.push('\n');
    }
    for link in &message.links {
        text.push_str(&format!("{}: {}\n", link.name, link.url));
    }
    text.push_str("\n-- \nburnwatch\n");
    text
}

/// What the reader's light or dark screen makes of it; the inline styles are for those who drop this.
const STYLE: &str = "body{margin:0;padding:16px;font:15px/1.45 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;color:#1b1f24;background:#fff}\
main{max-width:640px;margin:0 auto}h1{font-size:19px;line-height:1.3;margin:0 0 16px}\
dl{margin:0}dt{color:#59636e;font-size:13px;margin-top:10px}dd{margin:0;overflow-wrap:anywhere}\
code{background:#eff1f3;padding:1px 4px;border-radius:4px;font-size:13px}\
.text{white-space:pre-line;overflow-wrap:anywhere}a{color:#0b5cad}\
@media(prefers-color-scheme:dark){body{color:#e6e9ec;background:#15181c}dt{color:#9aa4ae}code{background:#2a2f36}a{color:#7db7ff}}";

/// HTML that loads nothing from elsewhere.
pub(super) fn html(message: &Message) -> String {
    let body = match &message.body {
        Some(body) => format!("<div class=\"text\" style=\"white-space:pre-line\">{}</div>\n", body.html),
        None => {
            let mut rows = String::new();
            for fact in &message.facts {
                let value: String = fact
                    .pieces
                    .iter()
                    .map(|piece| piece.render(escape::html, |theirs| format!("<code>{}</code>", escape::html(theirs))))
                    .collect();
                rows.push_str(&format!("<dt>{}</dt><dd>{value}</dd>\n", fact.name));
            }
            format!("<dl>\n{rows}</dl>\n")
        }
    };
    let (answers, links): (Vec<_>, Vec<_>) = message.links.iter().partition(|link| link.name == text::ACKNOWLEDGE);
    let button =
        "display:inline-block;padding:10px 18px;border-radius:6px;background:#0b5cad;color:#ffffff;text-decoration:none;font-weight:600";
    let answers: String = answers
        .iter()
        .map(|link| {
            format!("<p style=\"margin:20px 0 0\"><a style=\"{button}\" href=\"{}\">{}</a></p>\n", escape::html(&link.url), link.name)
        })
        .collect();
    let links: Vec<String> = links.iter().map(|link| format!("<a href=\"{}\">{}</a>", escape::html(&link.url), link.name)).collect();
    let links = if links.is_empty() { String::new() } else { format!("<p style=\"margin:16px 0\">{}</p>\n", links.join(" &middot; ")) };
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><style>{STYLE}</style></head>\n<body><main>\n<h1>{}</h1>\n{body}{answers}{links}\
         <p style=\"color:#8a939c;font-size:13px\">burnwatch</p>\n</main></body></html>\n",
        escape::html(&message.headline())
    )
}
