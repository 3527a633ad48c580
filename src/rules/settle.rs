//! From what a free-form rule says at one evaluation to what became of its alert. The daemon, `backtest` and `test` all
//! go through here.

use super::program::Verdict;
use crate::domain::alert::{AlertChange, AlertState, Patience};
use crate::domain::evaluate::{AlertEvent, TierEvent, unconfirmed};
use crate::domain::notification::Figures;
use crate::domain::rule::{FreeRule, Labels, Schedule, Severity};
use crate::domain::schedule::Timer;
use crate::domain::snapshot::TierVerdict;
use crate::domain::time::{Span, Timestamp};

/// Moves the alert of a free-form rule and group on by one verdict; `None`: nothing changed.
pub fn settle(
    rule: &FreeRule,
    group: Labels,
    key: String,
    state: Option<AlertState>,
    verdict: Verdict,
    at: Timestamp,
) -> Option<AlertEvent> {
    let mut state = state.filter(|state| state.tiers.len() == 1).unwrap_or_else(|| AlertState::new(1));
    let before = state.clone();
    let (verdict, severity, summary) = match verdict {
        Verdict::Unknown(_) => (TierVerdict::Unknown, None, String::new()),
        Verdict::Clear => (TierVerdict::Clear, None, String::new()),
        Verdict::Holds { severity, summary } => (TierVerdict::Holds, Some(severity), summary),
    };
    let last = at - period(rule, at);
    let patience = Patience { pending: rule.pending, keep_firing: rule.keep_firing };
    let (tier, change) = state.tiers[0].step(verdict, at, last, patience);
    state.tiers[0] = tier;
    state.unknown_since = match verdict {
        TierVerdict::Unknown => Some(state.unknown_since.unwrap_or(at)),
        TierVerdict::Holds | TierVerdict::Clear => None,
    };
    let loud: Severity = severity.or(before.severity).unwrap_or(rule.severity);
    let alert_change = state.settle([loud], at);
    let alert_change = state.confirm(verdict != TierVerdict::Unknown, alert_change, at);
    if change.is_none() && alert_change.is_none() && state == before {
        return None;
    }
    let mut labels = rule.base_labels();
    labels.extend(group);
    let text = [&summary, &rule.summary, &rule.description].into_iter().find(|text| !text.is_empty()).cloned();
    Some(AlertEvent {
        at,
        rule: rule.name.clone(),
        group: key,
        labels,
        change: alert_change,
        tiers: change.map(|change| TierEvent { tier: 0, severity: loud, change, figures: Figures::default() }).into_iter().collect(),
        figures: Figures::default(),
        summary: text.unwrap_or_else(|| format!("{} holds", rule.name)),
        reason: match alert_change {
            Some(AlertChange::Unconfirmed) => unconfirmed(),
            Some(AlertChange::Opened { .. } | AlertChange::Raised { .. } | AlertChange::Lowered { .. } | AlertChange::Ended) | None => {
                "the rule no longer holds".into()
            }
        },
        subject: None,
        state,
    })
}

/// The distance of two evaluations of a rule: how long an unknown verdict stands for.
fn period(rule: &FreeRule, at: Timestamp) -> Span {
    match &rule.schedule {
        Schedule::Every(span) => *span,
        Schedule::Cron { .. } => {
            let timer = Timer::new(&rule.schedule).ok();
            timer.and_then(|timer| timer.next_after(at)).map_or(Span::MINUTE, |next| next - at)
        }
    }
}
