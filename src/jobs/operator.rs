//! Incidents about burnwatch itself: bad rules, stale data, failing delivery (CONTRACT 4).

use crate::domain::alert::{AlertChange, AlertState};
use crate::domain::desk::{Book, Desk, Findings};
use crate::domain::evaluate::AlertEvent;
use crate::domain::incident::Input;
use crate::domain::notification::Figures;
use crate::domain::route::canonical;
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
    /// A silence hides nothing, or ends while what it hides fires.
    Silence,
    /// The clock jumped.
    Clock,
    /// Nothing can be stored.
    Store,
    /// Nothing is taken in.
    Intake,
}

impl Trouble {
    /// The rule name that the alert carries.
    pub const fn name(self) -> &'static str {
        match self {
            Trouble::BadRules => "burnwatch-rules",
            Trouble::StaleData => "burnwatch-stale-data",
            Trouble::RuleFails => "burnwatch-rule-fails",
            Trouble::DeadLetters => "burnwatch-dead-letters",
            Trouble::Silence => "burnwatch-silence",
            Trouble::Clock => "burnwatch-clock",
            Trouble::Store => "burnwatch-store",
            Trouble::Intake => "burnwatch-intake",
        }
    }

    /// What stands still is a page; a word to an author can wait for the morning.
    const fn severity(self) -> Severity {
        match self {
            Trouble::BadRules | Trouble::StaleData | Trouble::RuleFails | Trouble::DeadLetters | Trouble::Store | Trouble::Intake => {
                Severity::Page
            }
            Trouble::Silence | Trouble::Clock => Severity::Ticket,
        }
    }

    const fn over(self) -> &'static str {
        match self {
            Trouble::BadRules | Trouble::StaleData | Trouble::RuleFails | Trouble::DeadLetters | Trouble::Store | Trouble::Intake => {
                "it works again"
            }
            Trouble::Silence => "it is over, or was changed",
            Trouble::Clock => "the clock has been steady for a while",
        }
    }
}

/// A trouble, and what it is about where there may be several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matter {
    pub trouble: Trouble,
    /// Tells it apart from others of its kind; empty: there is one.
    pub group: Labels,
    /// More for routes to match.
    pub labels: Labels,
}

impl Matter {
    /// Names its alert.
    pub fn alert(&self) -> String {
        format!("{}{}", self.trouble.name(), self.group_text())
    }

    /// Everything that routes see of it but its severity.
    pub(super) fn all_labels(&self) -> Labels {
        let fixed = [("rule", self.trouble.name()), ("kind", "operator"), ("service", "burnwatch")];
        let mut labels: Labels = self.labels.iter().chain(&self.group).map(|(k, v)| (k.clone(), v.clone())).collect();
        labels.extend(fixed.map(|(k, v)| (k.to_owned(), v.to_owned())));
        labels
    }

    fn group_text(&self) -> String {
        if self.group.is_empty() { String::new() } else { canonical(&self.group) }
    }
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
    let matter = Matter { trouble, group: Labels::new(), labels: Labels::new() };
    report_on(store, desk, &matter, summary, now, public_url, new_id).await
}

/// The same for one of several matters.
pub async fn report_on(
    store: &Store,
    desk: &Desk,
    matter: &Matter,
    summary: Option<String>,
    now: Timestamp,
    public_url: &str,
    new_id: fn() -> String,
) -> Result<usize, StoreError> {
    let (trouble, alert) = (matter.trouble, matter.alert());
    if stands(store, &alert, summary.as_deref()).await? {
        // Most of the time all is well, and was: nobody is kept from writing for that.
        return Ok(0);
    }
    let mut tx = store.write_durable().await?;
    let open = transition::load_open(&mut tx).await?;
    let recent = transition::load_recent(&mut tx, now).await?;
    let members = open.values().flat_map(|incident| incident.members.iter().map(|member| (incident.id.clone(), member)));
    let holder =
        members.filter(|(_, member)| member.alert == alert && member.firing).map(|(id, member)| (id, member.summary.clone())).next();
    let silences = transition::load_silences(&mut tx, now).await?;
    let mut make = |_: &str, _: Timestamp| new_id();
    let mut book = Book::new(desk, now, &silences, (open, recent), &mut make);
    let outcome = match (holder, summary) {
        (None, None) => return Ok(0),
        (Some((_, said)), Some(summary)) if said == summary => return Ok(0),
        (Some((id, _)), Some(summary)) => {
            let refreshed = Input::AlertRefreshed { alert: alert.clone(), figures: Figures::default(), summary: summary.clone() };
            let mut outcome = book.input(&id, refreshed);
            if let Some(outcome) = &mut outcome {
                outcome.incident.title = summary;
            }
            outcome
        }
        (Some((id, _)), None) => book.input(&id, Input::AlertEnded { alert, reason: trouble.over().into() }),
        (None, Some(summary)) => {
            let event = AlertEvent {
                at: now,
                rule: trouble.name().into(),
                group: matter.group_text(),
                labels: matter.all_labels(),
                change: Some(AlertChange::Opened { severity: trouble.severity() }),
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

/// Whether this is what was said last: the alert fires with this summary, or does not fire.
async fn stands(store: &Store, alert: &str, summary: Option<&str>) -> Result<bool, StoreError> {
    let mut tx = store.read().await?;
    let said = transition::operator_alerts(&mut tx).await?;
    let said = said.iter().find(|(_, member)| member.alert == alert).map(|(_, member)| member.summary.as_str());
    Ok(said == summary)
}
