//! The demo's inbox: what was delivered, as a pager, a ticket system and a mail reader show it.

use maud::{Markup, html};
use serde_json::Value;

use crate::domain::notification::{Kind, Notification};
use crate::domain::time::Timestamp;
use crate::web::frame::{Page, Place, REFRESH};
use crate::web::icon::{Icon, Tone, flag, flag_with, severity};
use crate::web::inbox::mail::{self, Mail};
use crate::web::inbox::{Channel, Delivery};
use crate::web::number;
use crate::web::text::{Plain, clip, link, safe_url};

/// The three columns, each newest first.
pub struct Model {
    pub pages: Vec<Delivery>,
    pub tickets: Vec<Delivery>,
    pub mails: Vec<Delivery>,
    /// How many of each are kept.
    pub all: [usize; 3],
    pub last: u64,
    pub now: Timestamp,
}

/// Heading, what is said while it is empty, what is in it, and how one of it looks.
type Column<'a> = (&'a str, &'a str, &'a [Delivery], fn(&Delivery, Timestamp) -> Markup);

/// The page.
pub fn page(model: &Model) -> Page {
    let columns: [Column<'_>; 3] = [
        ("Pager", "nobody has been paged yet", &model.pages, pager),
        ("Tickets", "no webhook has been called yet", &model.tickets, ticket),
        ("Mail", "no mail has come yet", &model.mails, mail_card),
    ];
    let body = html! {
        div.head {
            h1 { "Inbox" }
            p."lede"."muted" { "What burnwatch delivered, as each reader would see it. Newest first. The demo's receivers all lead here." }
        }
        div.thirds {
            @for ((name, none, deliveries, card), all) in columns.into_iter().zip(model.all) {
                section aria-labelledby={ "h-" (name) } {
                    h2 id={ "h-" (name) } { (name) " " span."muted"."small" { (all) @if all > deliveries.len() { ", the newest " (deliveries.len()) } } }
                    @if deliveries.is_empty() { p.empty { "Empty: " (none) "." } }
                    @for delivery in deliveries { (card(delivery, model.now)) }
                }
            }
        }
    };
    let mut page = Page::new(format!("Inbox: {} delivered", model.last), Place::Elsewhere, body);
    page.refresh = Some(REFRESH);
    page.shape = model.last.to_string();
    page
}

fn foot(delivery: &Delivery, now: Timestamp) -> Markup {
    html! { p."small"."muted" { (number::time_seconds(delivery.at, now)) " · " a href={ "/inbox/" (delivery.n) } { "raw and headers" } } }
}

fn text_at<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

fn pager(delivery: &Delivery, now: Timestamp) -> Markup {
    let Ok(event) = serde_json::from_str::<Value>(&delivery.body) else { return unreadable(delivery, now) };
    let action = text_at(&event, "/event_action");
    let loud = text_at(&event, "/payload/severity");
    let class = match (action, loud) {
        ("trigger", "critical") => "msg pager",
        ("trigger", _) => "msg pager warning",
        _ => "msg pager quiet",
    };
    let flagged = match (action, loud) {
        ("trigger", "critical") => html! { span.flag.solid { (Icon::Page.svg()) "TRIGGERED" } },
        ("trigger", _) => flag(Tone::Ticket, "TRIGGERED"),
        ("acknowledge", _) => flag(Tone::Info, "ACKNOWLEDGED"),
        ("resolve", _) => flag(Tone::Fine, "RESOLVED"),
        _ => flag(Tone::Unknown, "UNKNOWN ACTION"),
    };
    let details = event.pointer("/payload/custom_details").and_then(Value::as_object);
    let links: Vec<(&str, &str)> = event
        .pointer("/links")
        .and_then(Value::as_array)
        .map(|links| links.iter().map(|link| (text_at(link, "/href"), text_at(link, "/text"))).collect())
        .unwrap_or_default();
    html! {
        article class=(class) {
            (flagged)
            h3 { (Plain(&clip(text_at(&event, "/payload/summary"), 300))) }
            @if action != "trigger" { p."small"."muted"."any" { "closes or answers " code { (Plain(&clip(text_at(&event, "/dedup_key"), 60))) } } }
            @if let Some(details) = details.filter(|details| !details.is_empty()) {
                dl.facts {
                    @for (name, value) in details.iter().take(8) {
                        dt { (Plain(&clip(name, 40))) }
                        dd { @match value.as_str() { Some(text) => (Plain(&clip(text, 300))), None => (Plain(&clip(&value.to_string(), 300))) } }
                    }
                }
            }
            @if !links.is_empty() { p.small { @for (i, (href, text)) in links.iter().take(4).enumerate() { @if i > 0 { " · " } (link(href, if text.is_empty() { href } else { text })) } } }
            (foot(delivery, now))
        }
    }
}

fn ticket(delivery: &Delivery, now: Timestamp) -> Markup {
    let Ok(notification) = serde_json::from_str::<Notification>(&delivery.body) else { return unreadable(delivery, now) };
    let incident = &notification.data.incident;
    let state = match notification.kind {
        Kind::Opened => flag_with(Tone::Info, Icon::Dot, "Open"),
        Kind::Reopened => flag_with(Tone::Info, Icon::Dot, "Reopened"),
        Kind::Updated => flag(Tone::Info, "Updated"),
        Kind::Escalated => flag_with(Tone::Ticket, Icon::Rising, "Escalated"),
        Kind::Reminder => flag(Tone::Ticket, "Reminder"),
        Kind::Acknowledged => flag(Tone::Info, "Acknowledged"),
        Kind::Resolved => flag(Tone::Fine, "Resolved"),
    };
    let name = match &delivery.channel {
        Channel::Hook(name) => name.as_str(),
        Channel::Pager | Channel::Mail => "",
    };
    html! {
        article.msg {
            (severity(incident.severity)) " " (state) " " span."muted"."small" { (Plain(name)) }
            h3 { (Plain(&clip(&incident.title, 300))) }
            p.small { (Plain(&clip(&notification.reason, 300))) }
            dl.facts {
                @if !incident.service.is_empty() { dt { "service" } dd { (Plain(&clip(&incident.service, 80))) } }
                @if !incident.owner.is_empty() { dt { "owner" } dd { (Plain(&clip(&incident.owner, 80))) } }
                dt { "users" } dd { @if incident.impact.affected_users > 0 { (number::users(incident.impact.affected_users)) } @else { (number::NOT_MEASURED) } }
                @if !incident.signature.is_empty() { dt { "signature" } dd { (Plain(&clip(&incident.signature, 120))) } }
            }
            p.small {
                @if safe_url(&incident.links.incident).is_some() { (link(&incident.links.incident, "incident")) }
                @if let Some(runbook) = &incident.links.runbook { " · " (link(runbook, "runbook")) }
            }
            (foot(delivery, now))
        }
    }
}

fn mail_card(delivery: &Delivery, now: Timestamp) -> Markup {
    let mail = mail::parse(&delivery.body);
    html! {
        article.msg {
            h3 { (Plain(&clip(if mail.subject.is_empty() { "(no subject)" } else { &mail.subject }, 300))) }
            p."small"."muted"."any" { (Plain(&clip(&mail.from, 120))) " → " (Plain(&clip(&mail.to, 200))) }
            (mail_body(delivery.n, &mail))
            (foot(delivery, now))
        }
    }
}

fn mail_body(n: u64, mail: &Mail) -> Markup {
    html! {
        @if mail.html.is_some() {
            iframe title="mail" sandbox="" loading="lazy" src={ "/inbox/" (n) "/mail.html" } {}
            @if let Some(text) = &mail.text { details { summary.small { "as plain text" } pre.wrapped { (Plain(&clip(text.trim(), 1_200))) } } }
        } @else if let Some(text) = &mail.text { pre.wrapped { (Plain(&clip(text.trim(), 1_200))) } }
    }
}

fn unreadable(delivery: &Delivery, now: Timestamp) -> Markup {
    html! { article.msg { (flag(Tone::Unknown, "Not readable")) pre.wrapped { (Plain(&clip(&delivery.body, 600))) } (foot(delivery, now)) } }
}

/// One delivery as it came over the wire.
pub fn raw(delivery: &Delivery, now: Timestamp) -> Page {
    let mail = (delivery.channel == Channel::Mail).then(|| mail::parse(&delivery.body));
    let kind = match &delivery.channel {
        Channel::Pager => "pager".to_owned(),
        Channel::Hook(name) => format!("webhook {}", clip(name, 60)),
        Channel::Mail => "mail".to_owned(),
    };
    let body = html! {
        div.head { p.small { a href="/inbox" { "← inbox" } } h1 { "Delivery " (delivery.n) } p.muted { (kind) ", " (number::time_seconds(delivery.at, now)) } }
        @if let Some(mail) = &mail { section.card aria-label="Mail" { (mail_body(delivery.n, mail)) } }
        @if !delivery.headers.is_empty() {
            section.card aria-labelledby="h-h" {
                header { h2 id="h-h" { "Headers" } }
                dl.facts { @for (name, value) in &delivery.headers { dt.mono { (Plain(&clip(name, 80))) } dd.mono { (Plain(value)) } } }
            }
        }
        section.card aria-labelledby="h-b" { header { h2 id="h-b" { "Body" } } pre.wrapped { (pretty(&delivery.body)) } }
    };
    Page::new(format!("Delivery {}", delivery.n), Place::Elsewhere, body)
}

/// JSON with line breaks and without the receiver's key; anything else as it is, all of it.
fn pretty(body: &str) -> Markup {
    let text = match serde_json::from_str::<Value>(body) {
        Ok(mut value) => {
            if let Some(key) = value.get_mut("routing_key") {
                *key = Value::from("[redacted]");
            }
            serde_json::to_string_pretty(&value).unwrap_or_else(|_| body.to_owned())
        }
        Err(_) => body.to_owned(),
    };
    let lines: Vec<&str> = text.lines().take(2_000).collect();
    html! { @for line in lines { (Plain(line)) "\n" } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixture::{self, HOSTILE, NOW, assert_inert, render};
    use crate::web::inbox::Inbox;

    pub fn model(inbox: &Inbox) -> Model {
        Model {
            all: [60, 1, 1],
            pages: inbox.newest(|channel| *channel == Channel::Pager, 50),
            tickets: inbox.newest(|channel| matches!(channel, Channel::Hook(_)), 50),
            mails: inbox.newest(|channel| *channel == Channel::Mail, 50),
            last: inbox.last(),
            now: NOW,
        }
    }

    #[test]
    fn hostile_deliveries_are_inert() {
        let inbox = Inbox::new();
        let event = serde_json::json!({ "routing_key": "k3y", "event_action": "trigger", "dedup_key": HOSTILE,
            "payload": { "summary": HOSTILE, "severity": "critical", "custom_details": { HOSTILE: HOSTILE } },
            "links": [{ "href": "javascript:alert(1)", "text": HOSTILE }] });
        inbox.push_page(NOW, vec![(HOSTILE.into(), HOSTILE.into())], event.to_string().as_bytes());
        let view = fixture::hostile_incident().view("javascript:alert(1)");
        let notification = Notification {
            kind: Kind::Opened,
            timestamp: NOW,
            reason: HOSTILE.into(),
            data: crate::domain::notification::Data { incident: view },
        };
        inbox.push_hook(NOW, HOSTILE, vec![], serde_json::to_string(&notification).unwrap().as_bytes());
        inbox.push_hook(NOW, "x", vec![], HOSTILE.as_bytes());
        inbox.push_mail(NOW, format!("Subject: {HOSTILE}\r\nFrom: {HOSTILE}\r\nContent-Type: text/html\r\n\r\n{HOSTILE}").as_bytes());
        inbox.push_mail(NOW, format!("Subject: x\r\n\r\n{HOSTILE}").as_bytes());
        assert_inert(&render(NOW, |_| page(&model(&inbox))));
        for n in 1..=5 {
            let text = render(NOW, |_| raw(&inbox.get(n).unwrap(), NOW));
            assert_inert(&text);
            assert!(!text.contains("k3y"));
        }
    }

    #[test]
    fn an_empty_inbox_says_so_in_each_column() {
        let text = render(NOW, |_| page(&model(&Inbox::new())));
        assert_eq!(text.matches("Empty: ").count(), 3);
    }
}
