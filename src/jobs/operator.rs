//! Incidents about burnwatch itself: bad rules, stale data, failing delivery (CONTRACT 4).

use crate::domain::alert::{AlertChange, AlertState};
use crate::domain::desk::{Book, Desk, Findings};
use crate::domain::evaluate::AlertEvent;
use crate::domain::incident::Input;
use crate::domain::notification::Figures;
use crate::domain::rule::{Labels, Severity};
use crate::domain::time::Timestamp;
use crate::store::{Store, StoreError, transition};

/// What can be wrong with burnwatch itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// A newer rule set was refused.
    BadRules,
    /// The watermark stands still.
    StaleData,
    /// A free-form rule fails.
    RuleFails,
    /// Notifications lie in the dead letters.
    DeadLetters,
}

impl Trouble {
    /// The rule name that the alert carries.
    pub const fn name(self) -> &'static str {
        match self {
            Trouble::BadRules => "burnwatch-rules",
            Trouble::StaleData => "burnwatch-stale-data",
            Trouble::RuleFails => "burnwatch-rule-fails",
            Trouble::DeadLetters => "burnwatch-dead-letters",
        }
    }
}

fn labels(trouble: Trouble) -> Labels {
    [("rule", trouble.name()), ("kind", "operator"), ("service", "burnwatch")].map(|(k, v)| (k.into(), v.into())).into()
}

/// Opens the operator incident of a trouble, or closes it when `summary` is `None`. Doing either
/// twice changes nothing, but for what an open one says. Says how many notifications were queued.
pub async fn report(
    store: &Store,
    desk: &Desk,
    trouble: Trouble,
    summary: Option<String>,
    now: Timestamp,
    public_url: &str,
    new_id: fn() -> String,
) -> Result<usize, StoreError> {
    let alert = trouble.name();
    let mut tx = store.write_durable().await?;
    let open = transition::load_open(&mut tx).await?;
    let recent = transition::load_recent(&mut tx, now).await?;
    let members = open.values().flat_map(|incident| incident.members.iter().map(|member| (incident.id.clone(), member)));
    let holder =
        members.filter(|(_, member)| member.alert == alert && member.firing).map(|(id, member)| (id, member.summary.clone())).next();
    let silences = transition::load_silences(&mut tx, now).await?;
    let mut make = |_: &str, _: Timestamp| new_id();
    let mut book = Book { desk, now, silences: &silences, open, recent, new_id: &mut make };
    let outcome = match (holder, summary) {
        (None, None) => return Ok(0),
        (Some((_, said)), Some(summary)) if said == summary => return Ok(0),
        (Some((id, _)), Some(summary)) => {
            let refreshed = Input::AlertRefreshed { alert: alert.into(), figures: Figures::default(), summary: summary.clone() };
            let mut outcome = book.input(&id, refreshed);
            if let Some(outcome) = &mut outcome {
                outcome.incident.title = summary;
            }
            outcome
        }
        (Some((id, _)), None) => book.input(&id, Input::AlertEnded { alert: alert.into(), reason: "it works again".into() }),
        (None, Some(summary)) => {
            let event = AlertEvent {
                at: now,
                rule: alert.into(),
                group: String::new(),
                labels: labels(trouble),
                change: Some(AlertChange::Opened { severity: Severity::Page }),
                tiers: Vec::new(),
                figures: Figures::default(),
                summary,
                reason: String::new(),
                subject: None,
                state: AlertState::default(),
            };
            book.alert(&event, None, Findings::default())
        }
    };
    let outcomes: Vec<_> = outcome.into_iter().collect();
    let queued = transition::commit(&mut tx, &outcomes, now, public_url).await?;
    tx.commit().await?;
    Ok(queued)
}
