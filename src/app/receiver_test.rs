//! Sends a test notification to one receiver, past the outbox.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::chance;
use crate::domain::desk::{correlation_key, delivery_id};
use crate::domain::notification::{Data, Impact, IncidentView, Kind, Links, Notification, Status, Verdict};
use crate::domain::rule::{RuleSet, Severity};
use crate::notify::{Delivery, SendError, Sender};
use crate::web::state::{CallError, TestReceiver, Tested};

/// The function that `POST /v1/receivers/{name}/test` calls.
pub fn tester(sender: Arc<Sender>, rules: Arc<ArcSwap<RuleSet>>, public_url: String) -> TestReceiver {
    Arc::new(move |name, now| {
        let (sender, rules, public_url) = (sender.clone(), rules.load_full(), public_url.clone());
        Box::pin(async move {
            let receiver = rules.receiver(&name).ok_or_else(|| CallError::Refused(format!("there is no receiver `{name}`")))?;
            let id = format!("test-{}", chance::id());
            let incident = IncidentView {
                id: id.clone(),
                key: "{test=\"true\"}".into(),
                status: Status::Open,
                severity: Severity::Info,
                title: "This is a test from burnwatch; nothing is wrong".into(),
                service: "burnwatch".into(),
                owner: String::new(),
                labels: BTreeMap::from([("test".to_owned(), "true".to_owned())]),
                opened_at: now,
                acknowledged_at: None,
                resolved_at: None,
                impact: Impact::default(),
                signature: String::new(),
                verdict: Verdict::Unknown,
                suspects: Vec::new(),
                changes: Vec::new(),
                alerts: Vec::new(),
                revision: rules.revision.clone(),
                links: Links { incident: public_url, runbook: None, dashboard: None },
            };
            let notification = Notification {
                kind: Kind::Opened,
                timestamp: now,
                reason: "a test that somebody asked for".into(),
                data: Data { incident },
            };
            let delivery = Delivery {
                id: delivery_id(&id, now.seconds(), 1, &name),
                correlation: correlation_key(&id, now.seconds(), &name),
                generation: None,
                sequence: 1,
                notification,
                template: receiver.template.as_ref().and_then(|name| rules.templates.get(name)).cloned(),
                earlier: None,
            };
            Ok(match sender.send(receiver, &delivery, now).await {
                Ok(sent) => Tested { delivered: true, status: sent.status, detail: sent.note },
                Err(error) => Tested { delivered: false, status: status(&error), detail: error.to_string() },
            })
        })
    })
}

fn status(error: &SendError) -> Option<u16> {
    error.status
}
