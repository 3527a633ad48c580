//! Where an objective stands, by its worst group: in a flag, in an order, and in time.

use std::cmp::Reverse;
use std::sync::Arc;

use maud::{Markup, html};

use crate::domain::rule::{Severity, Slo};
use crate::domain::snapshot::{AlertPhase, SloStatus};
use crate::domain::time::Span;
use crate::web::icon::{Icon, Tone, flag_with};
use crate::web::number;

/// An objective and where it, or one of its groups, stands.
#[derive(Clone)]
pub struct Objective<'a> {
    pub slo: &'a Slo,
    pub status: Arc<SloStatus>,
    /// The group that stands worse than the whole, if one does.
    pub worst: Option<Arc<SloStatus>>,
}

impl<'a> Objective<'a> {
    /// An objective with all its rows: the overall one first, then its groups.
    pub fn new(slo: &'a Slo, rows: &[Arc<SloStatus>]) -> Option<Objective<'a>> {
        let status = Arc::clone(rows.first()?);
        let worst = rows[1..].iter().min_by(|a, b| badness(a).cmp(&badness(b)).then_with(|| least_left(a, b)));
        let worst = worst.filter(|worst| badness(worst) < badness(&status)).map(Arc::clone);
        Some(Objective { slo, status, worst })
    }

    /// The row that has to be looked at: the worst group, or the whole.
    pub fn loudest(&self) -> &Arc<SloStatus> {
        self.worst.as_ref().unwrap_or(&self.status)
    }
}

/// Lower is worse: firing by loudness, pending, unknown, budget spent, and all the rest. A group that
/// nobody uses at the moment is unknown and says nothing about the whole.
fn badness(status: &SloStatus) -> (u8, Reverse<Option<Severity>>) {
    match status.state {
        AlertPhase::Firing => (0, Reverse(status.severity)),
        AlertPhase::Pending => (1, Reverse(None)),
        AlertPhase::Unknown if status.group.is_empty() => (2, Reverse(None)),
        AlertPhase::Ok if status.no_data && status.group.is_empty() => (2, Reverse(None)),
        AlertPhase::Ok if spent(status) => (3, Reverse(None)),
        AlertPhase::Unknown | AlertPhase::Ok => (4, Reverse(None)),
    }
}

fn spent(status: &SloStatus) -> bool {
    status.budget_remaining.is_some_and(|left| left <= 0.0)
}

/// Whether a short window burns over a limit while nothing fires: worth a glance, and no more yet.
pub fn is_rising(row: &Objective<'_>) -> bool {
    Need::of(row) == Need::Nothing && row.loudest().tiers.iter().any(|tier| tier.short_over && !tier.long_over)
}

/// What an objective needs of people, by its worst row: the same that its row in a table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Burning,
    Pending,
    Unknown,
    Spent,
    Nothing,
}

impl Need {
    /// Of an objective with its groups.
    pub fn of(row: &Objective<'_>) -> Need {
        match badness(row.loudest()).0 {
            0 => Need::Burning,
            1 => Need::Pending,
            2 => Need::Unknown,
            3 => Need::Spent,
            _ => Need::Nothing,
        }
    }
}

fn least_left(a: &SloStatus, b: &SloStatus) -> std::cmp::Ordering {
    let left = |one: &SloStatus| one.budget_remaining.unwrap_or(f64::INFINITY);
    left(a).total_cmp(&left(b))
}

/// The state of an objective in a word, with shape and colour; never better than it is.
pub fn state_flag(slo: &Slo, status: &SloStatus) -> Markup {
    let (tone, icon, word) = state(slo, status);
    flag_with(tone, icon, &word)
}

/// The same as a word alone, for titles.
pub fn state_word(slo: &Slo, status: &SloStatus) -> String {
    state(slo, status).2
}

fn state(slo: &Slo, status: &SloStatus) -> (Tone, Icon, String) {
    let held = status.tiers.iter().any(|tier| tier.held_back.is_some());
    let rising = status.tiers.iter().any(|tier| tier.short_over && !tier.long_over);
    let gone = spent(status);
    let rises = |word: &str| (Tone::Ticket, Icon::Rising, word.to_owned());
    let plain = |tone: Tone, word: &str| (tone, tone.icon(), word.to_owned());
    match (status.state, status.severity) {
        (AlertPhase::Firing, Some(loud)) => plain(Tone::from(loud), &format!("Burning {}", governing(status))),
        (AlertPhase::Firing, None) => plain(Tone::Ticket, "Firing"),
        (AlertPhase::Pending, _) => rises("Pending"),
        (AlertPhase::Unknown, _) => plain(Tone::Unknown, "Unknown"),
        (AlertPhase::Ok, _) if status.no_data => plain(Tone::Unknown, "No data"),
        (AlertPhase::Ok, _) if gone => plain(Tone::Ticket, "Exhausted"),
        (AlertPhase::Ok, _) if held => plain(Tone::Unknown, "Held back"),
        (AlertPhase::Ok, _) if rising => rises("Increasing"),
        (AlertPhase::Ok, _) if !slo.enabled => plain(Tone::Unknown, "Disabled"),
        (AlertPhase::Ok, _) => plain(Tone::Fine, "Fine"),
    }
}

/// The state of the whole where a group stands worse: in words only, so that nothing green stands beside it.
pub fn state_words(slo: &Slo, status: &SloStatus) -> Markup {
    match status.state {
        AlertPhase::Ok if !status.no_data && !spent(status) => html! { "within its objective" },
        AlertPhase::Ok | AlertPhase::Pending | AlertPhase::Firing | AlertPhase::Unknown => state_flag(slo, status),
    }
}

fn governing(status: &SloStatus) -> String {
    firing_burn(status).map_or_else(String::new, |(burn, factor)| number::burn(Some(burn), &[factor]))
}

/// The governing burn of the loudest tier that fires, the smaller of its two windows, and its limit: the figure that every
/// page says beside "Burning".
pub fn firing_burn(status: &SloStatus) -> Option<(f64, f64)> {
    let tier = status.tiers.iter().find(|tier| tier.phase == AlertPhase::Firing && Some(tier.severity) == status.severity)?;
    let burn = match (tier.burn_long, tier.burn_short) {
        (Some(long), Some(short)) => Some(long.min(short)),
        (long, short) => long.or(short),
    };
    Some((burn.filter(|burn| *burn > 0.0)?, tier.factor.to_f64()))
}

/// When the budget is gone if it burns on as now. While an alert fires that is its burn: at the pace of the whole
/// window, which a bad quarter of an hour hardly moves, the budget of a shop that is down would be said to last.
pub fn gone_in(slo: &Slo, status: &SloStatus) -> Option<Span> {
    match (firing_burn(status), status.budget_remaining) {
        (Some((burn, _)), Some(left)) => Some(Span((left.max(0.0) * slo.window.nominal().as_secs_f64() / burn * 1_000.0).min(9e15) as i64)),
        (None, _) | (_, None) => status.countdown,
    }
}

/// Firing first, by loudness, then what is unknown or spent, then the least budget left.
pub fn worst_first(rows: &mut [Objective<'_>]) {
    rows.sort_by(|a, b| {
        badness(a.loudest())
            .cmp(&badness(b.loudest()))
            .then_with(|| least_left(&a.status, &b.status))
            .then_with(|| a.slo.name.cmp(&b.slo.name))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixture;

    #[test]
    fn burning_stands_before_unknown_and_unknown_before_fine() {
        let slo = fixture::slo();
        let with = |state, severity, left| Objective {
            slo: &slo,
            status: Arc::new(SloStatus { state, severity, budget_remaining: left, ..fixture::status() }),
            worst: None,
        };
        let mut rows = vec![
            with(AlertPhase::Ok, None, Some(0.9)),
            with(AlertPhase::Ok, None, Some(-0.2)),
            with(AlertPhase::Unknown, None, None),
            with(AlertPhase::Firing, Some(Severity::Ticket), Some(0.5)),
            with(AlertPhase::Firing, Some(Severity::Page), Some(0.9)),
        ];
        worst_first(&mut rows);
        let order: Vec<_> = rows.iter().map(|row| (row.status.severity, row.status.budget_remaining)).collect();
        assert_eq!(
            order,
            [(Some(Severity::Page), Some(0.9)), (Some(Severity::Ticket), Some(0.5)), (None, None), (None, Some(-0.2)), (None, Some(0.9))]
        );
        assert!(state_flag(&slo, &rows[2].status).into_string().contains("Unknown"));
        assert!(state_flag(&slo, &rows[3].status).into_string().contains("Exhausted"));
        assert!(state_flag(&slo, &rows[0].status).into_string().contains("Burning 35×"));
    }

    #[test]
    fn a_budget_that_burns_does_not_last() {
        let slo = fixture::slo();
        let burning = SloStatus { countdown: Some(Span::days(400)), budget_remaining: Some(0.41), ..fixture::status() };
        let (burn, _) = firing_burn(&burning).expect("it fires");
        let hours = gone_in(&slo, &burning).expect("an end").as_secs_f64() / 3_600.0;
        assert!((hours - 0.41 * 720.0 / burn).abs() < 0.01, "{hours}");
        assert_eq!(gone_in(&slo, &SloStatus { budget_remaining: Some(-0.1), ..burning.clone() }), Some(Span(0)));
        let calm = SloStatus { state: AlertPhase::Ok, severity: None, tiers: vec![], ..burning };
        assert_eq!(gone_in(&slo, &calm), calm.countdown);
    }
}
