//! Tick: lets time pass for open incidents: group waits, reminders, escalations, ended mutes, removed rules.
//!
//! Most of the time nothing is due. Then a tick is two short reads: while no incident, no silence, no rule and no
//! hours have changed, the last look still says when the next one is worth it, and at which incidents. What this
//! process itself did to incidents in between is [noted](Ticks::note), so that a look is at those, however many
//! others are open. Nothing is written, and nobody is kept from writing, before a look has found something to do.

mod agenda;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use crate::domain::alert::AlertState;
use crate::domain::desk::{Book, Desk, Outcome, Silence};
use crate::domain::incident::{Incident, Input, RULE_REMOVED};
use crate::domain::notification::Status;
use crate::domain::rule::RuleSet;
use crate::domain::time::{Span, Timestamp};
use crate::store::{self, Store, StoreError, Tx, incidents, transition};

use self::agenda::Agenda;
use super::known::Known;

/// What is remembered from one tick to the next.
#[derive(Default)]
pub struct Ticks {
    still: Option<Still>,
    /// How often incidents were looked at, and how many of them.
    #[cfg(test)]
    looks: usize,
    #[cfg(test)]
    looked_at: usize,
}

/// What held when the last look was made, and what that found.
struct Still {
    at: Timestamp,
    desk: Arc<Desk>,
    seen: Seen,
    agenda: Agenda,
}

/// What a look depends on, beside the rules and time.
#[derive(PartialEq)]
struct Seen {
    /// The store's count of changes of incidents.
    incidents: String,
    silences: Vec<Silence>,
    hours: Vec<bool>,
}

/// Which incidents a look is at.
#[derive(Clone)]
enum Scope {
    All,
    /// Those of these keys.
    Some(BTreeSet<String>),
}

/// What a tick needs.
pub struct Ticking<'a> {
    pub store: &'a Store,
    pub desk: &'a Arc<Desk>,
    pub token: Option<i64>,
    pub lease: &'a str,
    pub public_url: &'a str,
    pub bucket: Span,
    pub now: Timestamp,
    pub known: &'a Known,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    pub queued: usize,
    pub outcomes: Vec<Outcome>,
}

/// What a look found to do.
struct Due {
    scope: Scope,
    outcomes: Vec<Outcome>,
    /// Alerts whose rule is gone.
    removed: Vec<(String, String)>,
    /// When each incident that was looked at is worth another look, if there is nothing to do.
    next: Vec<(String, Option<Timestamp>)>,
    /// Whether each incident that something is done to stands alone.
    alone: bool,
    /// The open incidents as they are after it.
    open: Open,
    /// Those that something is done to, as they were before it; of a look at all of them `None`.
    before: Option<Vec<Incident>>,
}

impl Due {
    fn is_nothing(&self) -> bool {
        self.outcomes.is_empty() && self.removed.is_empty()
    }

    /// The open incidents as they were before it, if that is known.
    fn undone(mut self) -> Option<Open> {
        self.open.extend(self.before?.into_iter().map(|incident| (incident.key.clone(), incident)));
        Some(self.open)
    }
}

/// Open incidents by key.
type Open = BTreeMap<String, Incident>;

type Alerts = BTreeMap<(String, String), AlertState>;

impl Ticks {
    /// This process changed these incidents in one transaction, which found the store's count of changes at `before` and left it
    /// at `after`. `alone`: each of them [stands alone](Book::stands_alone).
    pub fn note(&mut self, before: &str, after: &str, outcomes: &[Outcome], alone: bool) {
        if outcomes.is_empty() {
            return;
        }
        let Some(still) = self.still.as_mut().filter(|still| alone && still.seen.incidents == before) else {
            // Everything is looked at anew.
            return self.still = None;
        };
        after.clone_into(&mut still.seen.incidents);
        outcomes.iter().for_each(|outcome| still.agenda.touch(&outcome.incident.key));
    }

    /// What is to be looked at; `None`: nothing.
    fn scope(&self, ticking: &Ticking<'_>, seen: &Seen) -> Option<Scope> {
        let now = ticking.now;
        let Some(still) = self.still.as_ref().filter(|still| still.holds(ticking, seen)) else { return Some(Scope::All) };
        still.agenda.is_ready(now).then(|| Scope::Some(still.agenda.ready(now)))
    }

    /// Takes down what a look found when it found nothing to do.
    fn settle(&mut self, ticking: &Ticking<'_>, seen: Seen, scope: &Scope, next: Vec<(String, Option<Timestamp>)>) {
        let mut agenda = match (scope, self.still.take()) {
            (Scope::Some(_), Some(still)) => still.agenda,
            _ => Agenda::default(),
        };
        if let Scope::Some(keys) = scope {
            keys.iter().for_each(|key| agenda.forget(key));
        }
        next.into_iter().for_each(|(key, until)| agenda.wait(key, until));
        self.still = Some(Still { at: ticking.now, desk: ticking.desk.clone(), seen, agenda });
    }

    #[cfg(test)]
    fn count(&mut self, found: &Due) {
        self.looks += 1;
        self.looked_at += match &found.scope {
            Scope::All => found.open.len(),
            Scope::Some(keys) => keys.len(),
        };
    }
}

impl Still {
    fn holds(&self, ticking: &Ticking<'_>, seen: &Seen) -> bool {
        self.at <= ticking.now && Arc::ptr_eq(&self.desk, ticking.desk) && self.seen == *seen
    }
}

/// Does what is due. `None`: another replica has the lease.
pub async fn tick(ticks: &mut Ticks, ticking: &Ticking<'_>, alerts: &mut Alerts) -> Result<Option<Report>, StoreError> {
    let now = ticking.now;
    let mut tx = ticking.store.read().await?;
    let seen = look_at(&mut tx, ticking).await?;
    let Some(scope) = ticks.scope(ticking, &seen) else { return Ok(Some(Report::default())) };
    let due = due(&mut tx, ticking, &seen.silences, alerts, scope).await?;
    drop(tx);
    #[cfg(test)]
    ticks.count(&due);
    if due.is_nothing() {
        ticking.known.keep(seen.incidents.clone(), due.open);
        ticks.settle(ticking, seen, &due.scope, due.next);
        return Ok(Some(Report::default()));
    }
    if let Some(open) = due.undone() {
        ticking.known.keep(seen.incidents, open);
    }
    // Somebody may have done something in between: what is written is found under the lock.
    let mut tx = ticking.store.write_durable().await?;
    if let Some(token) = ticking.token
        && !store::leases::fence(&mut tx, ticking.lease, token).await?
    {
        return Ok(None);
    }
    let found_now = look_at(&mut tx, ticking).await?;
    let scope = ticks.scope(ticking, &found_now).unwrap_or(Scope::All);
    let found = self::due(&mut tx, ticking, &found_now.silences, alerts, scope).await?;
    for (rule, group) in &found.removed {
        store::alerts::delete(&mut tx, rule, group).await?;
    }
    let queued = transition::commit(&mut tx, &found.outcomes, now, ticking.public_url).await?;
    let changes = incidents::changes(&mut tx).await?;
    tx.commit().await?;
    ticks.note(&found_now.incidents, &changes, &found.outcomes, found.alone);
    ticking.known.keep(changes, found.open);
    found.removed.iter().for_each(|key| {
        alerts.remove(key);
    });
    Ok(Some(Report { queued, outcomes: found.outcomes }))
}

async fn look_at(tx: &mut Tx, ticking: &Ticking<'_>) -> Result<Seen, StoreError> {
    let incidents = incidents::changes(tx).await?;
    let silences = transition::load_silences(tx, ticking.now).await?;
    Ok(Seen { incidents, silences, hours: ticking.desk.hours(ticking.now) })
}

async fn due(tx: &mut Tx, ticking: &Ticking<'_>, silences: &[Silence], alerts: &Alerts, scope: Scope) -> Result<Due, StoreError> {
    let mut no_new = |_: &str, _: Timestamp| String::new();
    // An alert ends at the start of a bucket, whatever ends it.
    let at = ticking.now.floor(ticking.bucket);
    let open = ticking.known.open(tx).await?;
    let mut book = Book::new(ticking.desk, at, silences, (open, BTreeMap::new()), &mut no_new);
    let alone = |key: &String| book.open.get(key).is_none_or(|incident| book.stands_alone(incident));
    let scope = match scope {
        Scope::Some(keys) if keys.iter().all(alone) => Scope::Some(keys),
        // Families and inhibition reach from one incident to another.
        Scope::Some(_) | Scope::All => Scope::All,
    };
    let mut outcomes = Vec::new();
    let (mut removed, mut before) = (Vec::new(), None);
    match &scope {
        Scope::Some(keys) => {
            book.now = ticking.now;
            let (was, is): (Vec<Incident>, Vec<Outcome>) = book.tick_some(keys.iter().cloned()).into_iter().unzip();
            (before, outcomes) = (Some(was), is);
        }
        Scope::All => {
            // A rule goes with its rule set, and other rules are a reason to look at everything.
            let enabled = enabled(ticking.desk.rules());
            for (incident, alert) in orphans(&book.open, &enabled) {
                outcomes.extend(book.input(&incident, Input::AlertEnded { alert, reason: RULE_REMOVED.into() }));
            }
            book.now = ticking.now;
            outcomes.extend(book.tick());
            removed = alerts.keys().filter(|(rule, _)| !enabled.contains(rule.as_str())).cloned().collect();
        }
    }
    let next = match &scope {
        _ if !outcomes.is_empty() => Vec::new(),
        Scope::Some(keys) => book.next_ticks(keys.iter().cloned()),
        Scope::All => book.next_ticks(book.open.keys().cloned().collect::<Vec<_>>()),
    };
    let alone = outcomes.iter().all(|outcome| book.stands_alone(&outcome.incident));
    Ok(Due { outcomes, removed, next, alone, before, open: book.open, scope })
}

/// Firing alerts of open incidents whose rule is gone: incident and alert.
fn orphans(open: &Open, enabled: &HashSet<&str>) -> Vec<(String, String)> {
    let mut gone = Vec::new();
    for incident in open.values().filter(|incident| incident.status != Status::Resolved) {
        for member in incident.members.iter().filter(|member| member.firing && !enabled.contains(member.rule.as_str())) {
            // What came from outside has no rule here, and ends by itself.
            if !member.is_operator() && !member.is_posted() {
                gone.push((incident.id.clone(), member.alert.clone()));
            }
        }
    }
    gone
}

/// The names of the rules that are evaluated.
fn enabled(rules: &RuleSet) -> HashSet<&str> {
    let slos = rules.slos.iter().filter(|slo| slo.enabled).map(|slo| slo.name.as_str());
    slos.chain(rules.alerts.iter().filter(|rule| rule.enabled).map(|rule| rule.name.as_str())).collect()
}

#[cfg(test)]
mod tests;
