//! Traffic as a test writes it: a metric, a place, a rate, and how much of it is bad.

use std::sync::Arc;

use rhai::Dynamic;

use super::method::At;
use crate::domain::metric::Metric;
use crate::domain::series::Series;
use crate::domain::time::Span;
use crate::domain::traffic::{Traffic, Values};
use crate::rules::problem::Problems;
use crate::rules::sli::{has_dimension, metric, no_dimension};
use crate::rules::value::{Fields, Value};

/// Most events a minute of one step, and most people.
const PER_MINUTE_MAX: f64 = 10_000_000.0;
const USERS_MAX: u64 = 1_000_000;
/// Most times that people are counted for one step.
const COUNTED_MAX: i64 = 20_000_000;

/// What `t.traffic`, `t.late` and `t.history` have in common; the arguments begin at `first`.
pub(super) fn traffic(at: &mut At<'_, '_>, [metric_, filter, options]: [Dynamic; 3], first: usize) -> Option<Box<Traffic>> {
    let metric_ = at.arg(metric_, "the metric", first);
    let filter = at.arg(filter, "the place", first + 1);
    let options = at.arg(options, "the traffic", first + 2);
    let metric = metric(&metric_, &mut at.recording.problems);
    let known = at.recording.known.clone();
    let mut dims = Vec::new();
    for (name, (key, value)) in filter.entries(&mut at.recording.problems).unwrap_or_default() {
        if let Some(metric) = metric.as_ref().filter(|metric| !has_dimension(metric, &name, &known.dimensions)) {
            at.recording.problems.error(&key, no_dimension(metric, &name, &known.dimensions));
        } else if let Some(text) = value.text(&mut at.recording.problems) {
            dims.push((Arc::from(name.as_str()), Arc::from(text.as_str())));
        }
    }
    let keys = ["per_minute", "bad", "value", "quantiles", "lasts", "users", "bad_users", "sample_rate"];
    let fields = options.fields(&mut at.recording.problems, &keys);
    let (metric, mut fields) = metric.zip(fields)?;
    let per_minute = per_minute(&mut fields, &mut at.recording.problems);
    let lasts = match fields.take("lasts") {
        Some(value) => at.stretch(&value),
        None if per_minute.as_ref().is_some_and(|list| list.len() > 1) => Some(Span::DAY),
        None => fields.need("lasts", &mut at.recording.problems).and(None),
    };
    let problems = &mut at.recording.problems;
    let always = matches!(metric, Metric::JsError | Metric::Crash);
    let bad_ppm = match fields.take("bad") {
        Some(value) => millionths(&value, problems, 0.0, 1.0).inspect(|bad| {
            if !metric.has_bad() && *bad > 0 {
                problems.error(&value.at, format!("no event of `{metric}` is bad by itself; give it a `value` that misses the limit"));
            } else if always && *bad != 1_000_000 {
                problems.error(&value.at, format!("every `{metric}` is bad"));
            }
        }),
        None => Some(if always { 1_000_000 } else { 0 }),
    };
    let kept_ppm = fields.take("sample_rate").map_or(Some(1_000_000), |value| millionths(&value, problems, 0.000_1, 1.0));
    let values = values(&mut fields, &metric, problems);
    let users = people(&mut fields, "users", problems);
    let bad_users = people(&mut fields, "bad_users", problems);
    let (per_minute, lasts, bad_ppm, kept_ppm, values) = (per_minute?, lasts?, bad_ppm?, kept_ppm?, values?);
    let busiest = per_minute.iter().copied().max().unwrap_or(0) / 1_000_000;
    if users.unwrap_or(0).min(busiest as u64) as i64 * (lasts.0 / Span::MINUTE.0) > COUNTED_MAX {
        at.recording.problems.error(&options.at, "these are too many people to count over so long a time; give fewer `users`");
        return None;
    }
    let series = Series::new(metric, dims);
    Some(Box::new(Traffic { series, per_minute, bad_ppm, values, users, bad_users, kept_ppm, lasts }))
}

fn per_minute(fields: &mut Fields, problems: &mut Problems) -> Option<Vec<i64>> {
    let value = fields.need("per_minute", problems)?;
    let items = value.items();
    if items.is_empty() || items.len() > 1_440 {
        problems.error(&value.at, "`per_minute` is a number, or a list of up to 1440 numbers that make up a day");
        return None;
    }
    items.iter().map(|item| millionths(item, problems, 0.0, PER_MINUTE_MAX)).collect()
}

/// A decimal as whole millionths.
fn millionths(value: &Value, problems: &mut Problems, least: f64, most: f64) -> Option<i64> {
    let number = value.number(problems)?;
    if !(least..=most).contains(&number) {
        let share = if most == 1.0 && (1.0..=100.0).contains(&number) {
            format!("; {number} % is written {}", number / 100.0)
        } else {
            String::new()
        };
        problems.error(&value.at, format!("{} must be from {least} to {most}, not {number}{share}", value.name));
        return None;
    }
    let exact = value.exact(problems)?.scale(1_000_000, 1).filter(|scaled| scaled.den() == 1);
    if exact.is_none() {
        problems.error(&value.at, format!("{} may have at most 6 decimals", value.name));
    }
    exact.and_then(|scaled| i64::try_from(scaled.num()).ok())
}

fn people(fields: &mut Fields, key: &str, problems: &mut Problems) -> Option<u64> {
    let value = fields.take(key)?;
    let count = value.whole(problems)?;
    if count > USERS_MAX {
        problems.error(&value.at, format!("`{key}` may be at most {USERS_MAX}"));
    }
    Some(count.min(USERS_MAX))
}

fn values(fields: &mut Fields, metric: &Metric, problems: &mut Problems) -> Option<Values> {
    let (value, quantiles) = (fields.take("value"), fields.take("quantiles"));
    let given = value.as_ref().or(quantiles.as_ref());
    if let (Some(given), false) = (given, metric.has_values()) {
        problems.error(&given.at, format!("events of `{metric}` carry no value"));
        return None;
    }
    match (value, quantiles) {
        (Some(value), None) => checked(&value, metric, problems).map(Values::One),
        (None, Some(quantiles)) => read_quantiles(&quantiles, metric, problems),
        (Some(_), Some(quantiles)) => {
            problems.error(&quantiles.at, "give either `value` or `quantiles`");
            None
        }
        (None, None) if metric.has_bad() => Some(Values::Nothing),
        (None, None) => {
            problems.error(&fields.at, format!("events of `{metric}` need a `value`, or `quantiles: #{{ p50: …, p95: … }}`"));
            None
        }
    }
}

fn checked(value: &Value, metric: &Metric, problems: &mut Problems) -> Option<f64> {
    let number = value.number(problems)?;
    let most = if let Metric::Vital(vital) = metric { vital.value_max() } else { f64::MAX };
    if (0.0..=most).contains(&number) {
        return Some(number);
    }
    problems.error(&value.at, format!("{} must be from 0 to {most}: the intake refuses others", value.name));
    None
}

/// `#{ p50: 1200, p95: 2500 }`, or a list of pairs of a share and a value.
fn read_quantiles(value: &Value, metric: &Metric, problems: &mut Problems) -> Option<Values> {
    let mut points: Vec<(f64, f64)> = Vec::new();
    if value.it.is_map() {
        for (key, (place, item)) in value.entries(problems)? {
            let share =
                key.strip_prefix('p').map_or_else(|| key.parse().ok(), |text| text.parse::<f64>().ok().map(|percent| percent / 100.0));
            let Some(share) = share.filter(|share| *share > 0.0 && *share < 1.0) else {
                problems.error(&place, format!("`{key}` is no quantile; write p50, p95, or \"p99.9\""));
                return None;
            };
            points.push((share, checked(&item, metric, problems)?));
        }
    } else {
        for item in value.items() {
            let pair = item.items();
            let [share, item] = pair.as_slice() else {
                item.wrong(problems, "a map like #{ p50: 1200, p95: 2500 }");
                return None;
            };
            points.push((millionths(share, problems, 0.000_001, 0.999_999)? as f64 / 1e6, checked(item, metric, problems)?));
        }
    }
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    if points.is_empty() || points.windows(2).any(|pair| pair[0].1 > pair[1].1 || pair[0].0 >= pair[1].0) {
        problems.error(&value.at, "quantiles ascend: a larger share has no smaller value");
        return None;
    }
    Some(Values::Quantiles(points))
}
