//! Every closure is asked before a rule set may take effect, against made-up data: once where all
//! is well, once where everything is wrong, once with one change in between.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::draft::Draft;
use super::program::Program;
use super::query::Asked;
use crate::domain::filter::Filter;
use crate::domain::measure::{Answer, Baseline, Change, Counted, Measure, Top};
use crate::domain::metric::Metric;
use crate::domain::rule::{FreeRule, Labels};
use crate::domain::time::{Span, Timestamp};

/// What the dry run of a whole folder may take.
const REHEARSAL_MAX: Duration = Duration::from_secs(20);

/// Data that was never measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MadeUp {
    Calm,
    Storm,
    /// Nothing happened where something is usual.
    Silence,
}

impl MadeUp {
    fn counted(self) -> Counted {
        match self {
            MadeUp::Calm => Counted { total: 10_000.0, bad: 0.0, raw: 10_000.0 },
            MadeUp::Storm => Counted { total: 100_000.0, bad: 90_000.0, raw: 50_000.0 },
            MadeUp::Silence => Counted { total: 1.0, bad: 0.0, raw: 1.0 },
        }
    }
}

impl Measure for MadeUp {
    fn count(&self, _: &Metric, _: &Filter, _: Span) -> Answer<Counted> {
        Ok(self.counted())
    }

    fn quantile(&self, _: &Metric, _: f64, _: &Filter, _: Span) -> Answer<f64> {
        Ok(if *self == MadeUp::Storm { 60_000.0 } else { 0.01 })
    }

    fn users(&self, _: &Metric, _: &Filter, _: Span) -> Answer<f64> {
        Ok(self.counted().total / 10.0)
    }

    fn bad_users(&self, _: &Metric, _: &Filter, _: Span) -> Answer<f64> {
        Ok(self.counted().bad / 10.0)
    }

    fn baseline(&self, _: &Metric, _: &Filter, _: Span) -> Answer<Baseline> {
        let total = self.counted().total;
        Ok(Baseline { median: 10_000.0, mad: 100.0, z: (total - 10_000.0) / 500.0 })
    }

    fn top(&self, _: &Metric, _: &str, _: &Filter, _: Span) -> Answer<Vec<Top>> {
        let counted = self.counted();
        let part = |share: f64| Counted { total: counted.total * share, bad: counted.bad * share, raw: counted.raw * share };
        let shares = if *self == MadeUp::Silence { vec![("a", 1.0)] } else { vec![("a", 0.6), ("b", 0.3), ("c", 0.1)] };
        Ok(shares.into_iter().map(|(value, share)| Top { value: value.into(), counted: part(share), share }).collect())
    }

    fn burn(&self, _: &str, _: &Labels, _: Span) -> Answer<f64> {
        Ok(if *self == MadeUp::Storm { 500.0 } else { 0.0 })
    }

    fn budget(&self, _: &str, _: &Labels) -> Answer<f64> {
        Ok(if *self == MadeUp::Storm { -5.0 } else { 1.0 })
    }

    fn consumed(&self, _: &str, _: &Labels, _: Option<Span>) -> Answer<f64> {
        Ok(if *self == MadeUp::Storm { 6.0 } else { 0.0 })
    }

    fn exhausted_within(&self, _: &str, _: &Labels, _: Span, _: Option<Span>) -> Answer<bool> {
        Ok(*self == MadeUp::Storm)
    }

    fn changes(&self, _: &Filter, _: Span) -> Answer<Vec<Change>> {
        let deploy = Change {
            kind: "deploy".into(),
            at: Timestamp(0),
            age: Span::minutes(5),
            app: "app".into(),
            release: "1.2.3".into(),
            text: "example".into(),
        };
        Ok(if *self == MadeUp::Storm { vec![deploy] } else { Vec::new() })
    }
}

/// Asks every closure; what it trips over is a problem of the rule. Gives what closures asked for.
pub(super) fn rehearse(program: &Program, rules: &[FreeRule], draft: &mut Draft) -> Asked {
    let asked = Arc::new(Mutex::new(Asked::default()));
    let started = Instant::now();
    // A rule whose `when` could not be read was reported and has nothing to ask.
    for rule in rules.iter().filter(|rule| program.has(&rule.name)) {
        if started.elapsed() > REHEARSAL_MAX {
            draft.problems.error(&rule.place, format!("asking every rule once takes longer than {} seconds", REHEARSAL_MAX.as_secs()));
            break;
        }
        let group: Labels = rule.by.iter().map(|name| (name.clone(), "example".to_owned())).collect();
        for data in [MadeUp::Calm, MadeUp::Storm, MadeUp::Silence] {
            let measure: Arc<dyn Measure> = Arc::new(data);
            let verdict = program.rehearse(&rule.name, &group, Arc::clone(&measure), &asked).map(|_| ());
            let words = program.rehearse_words(&rule.name, &group, &measure, &asked);
            let slips = std::mem::take(&mut asked.lock().unwrap_or_else(PoisonError::into_inner).slips);
            draft.problems.add(slips);
            for error in [verdict, words].into_iter().filter_map(Result::err) {
                // A stand-in for something that was reported went into an operation.
                if draft.problems.has_errors() && error.message.contains("value::Broken") {
                    continue;
                }
                // A slip that was found by reading the file is not reported again.
                if !draft.problems.errors.contains(&error.place) || error.place == rule.place {
                    draft.problems.error(&error.place, format!("in alert `{}`: {}", rule.name, error.message));
                }
            }
        }
    }
    let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut *asked)
}
