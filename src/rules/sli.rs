//! SLI constructors: what is good, out of what, and where (`where` filters).

use std::collections::BTreeMap;

use rhai::{Dynamic, Engine};

use super::draft::{Call, Draft, RefersTo, Shared, register};
use super::problem::{Problems, clip, hint, list};
use super::value::{Broken, Value};
use crate::domain::cell::Limit;
use crate::domain::filter::{Filter, Match};
use crate::domain::fraction::Fraction;
use crate::domain::metric::{Metric, Vital};
use crate::domain::rule::{Combine, EmptySlice, Place, Selector, Sli};

/// An SLI as a script sees it: opaque.
#[derive(Clone, Debug)]
pub(super) struct SliValue(pub(super) Sli);

/// `count(metric, where)`, one side of a ratio.
#[derive(Clone, Debug)]
pub(super) struct Counter(Selector);

/// Conditions that one label or dimension may have to meet all of.
const ALL_MAX: usize = 16;

/// Registers every SLI constructor.
pub(super) fn add(engine: &mut Engine, draft: &Shared) {
    register(engine, draft, "good", &[1, 2], good);
    register(engine, draft, "within", &[2, 3], |draft, call| held_against(draft, call, true));
    register(engine, draft, "below", &[2, 3], |draft, call| held_against(draft, call, false));
    register(engine, draft, "count", &[1, 2], count);
    register(engine, draft, "ratio", &[2], ratio);
    register(engine, draft, "slices", &[3, 4], slices);
    register(engine, draft, "composite", &[1, 2, 3], composite);
    register(engine, draft, "external", &[1, 2], external);
}

fn made(sli: Option<Sli>) -> Dynamic {
    sli.map_or_else(|| Dynamic::from(Broken), |sli| Dynamic::from(SliValue(sli)))
}

/// Reads a metric's name.
pub(super) fn metric(value: &Value, problems: &mut Problems) -> Option<Metric> {
    let name = value.text(problems)?;
    let metric = Metric::parse(&name);
    if metric.is_none() {
        let short = clip(&name);
        let message = if name.starts_with("custom:") {
            format!("`{short}` is no custom metric: after `custom:` stand 1 to 64 letters, digits, `_`, `.` or `-`")
        } else {
            no_metric(&short)
        };
        problems.error(&value.at, message);
    }
    metric
}

/// What a metric that there is not is told.
pub(super) fn no_metric(name: &str) -> String {
    let near = hint(name, Metric::NAMES);
    let names: Vec<&str> = Metric::NAMES.into_iter().chain(["custom:NAME"]).collect();
    let rest = if near.is_empty() { format!("; there are {}", list(&names)) } else { near };
    format!("there is no metric `{name}`{rest}")
}

/// What a dimension that a metric does not have is told.
pub(super) fn no_dimension(metric: &Metric, name: &str, configured: &std::collections::BTreeSet<String>) -> String {
    let own = metric.own_dimensions();
    let known: Vec<&str> = own.iter().copied().chain(configured.iter().map(String::as_str)).collect();
    let near = meant_dimension(name, &known);
    let rest = if near.is_empty() { format!("; it has {}", list(&known)) } else { near };
    format!("`{metric}` has no dimension `{}`{rest}", clip(name))
}

/// Words of other tools and of everyday language for our dimensions.
const DIMENSIONS: [(&str, &str); 14] = [
    ("path", "route"),
    ("url", "route"),
    ("page", "route"),
    ("country", "region"),
    ("geo", "region"),
    ("version", "release"),
    ("env", "environment"),
    ("service", "app"),
    ("application", "app"),
    ("code", "status"),
    ("status_code", "status"),
    ("platform", "os"),
    ("flag", "cohort"),
    ("variant", "cohort"),
];

fn meant_dimension(name: &str, known: &[&str]) -> String {
    let near = hint(name, known.iter().copied());
    let meant = DIMENSIONS.iter().find(|(word, meant)| *word == name && known.contains(meant));
    match meant {
        Some((_, meant)) if near.is_empty() => format!("; did you mean `{meant}`?"),
        _ => near,
    }
}

/// Whether a metric has a dimension.
pub(super) fn has_dimension(metric: &Metric, name: &str, configured: &std::collections::BTreeSet<String>) -> bool {
    metric.own_dimensions().contains(&name) || configured.contains(name)
}

fn own_dimensions() -> impl Iterator<Item = &'static str> {
    Metric::NAMES.into_iter().filter_map(Metric::parse).flat_map(|metric| metric.own_dimensions().iter().copied())
}

/// Whether any metric has a dimension.
pub(super) fn is_dimension(name: &str, configured: &std::collections::BTreeSet<String>) -> bool {
    configured.contains(name) || own_dimensions().any(|own| own == name)
}

/// What a dimension that no metric has is told.
pub(super) fn unknown_dimension(name: &str, configured: &std::collections::BTreeSet<String>) -> String {
    let mut known: Vec<&str> = own_dimensions().collect();
    known.extend(configured.iter().map(String::as_str));
    known.sort_unstable();
    known.dedup();
    let near = meant_dimension(name, &known);
    let rest = if near.is_empty() { format!("; there are {}", list(&known)) } else { near };
    format!("there is no dimension `{}`{rest}", clip(name))
}

/// Reads a `where` for a metric.
fn filter(draft: &mut Draft, value: &Value, metric: Option<&Metric>) -> Option<Filter> {
    let entries = value.entries(&mut draft.problems)?;
    let mut filter = BTreeMap::new();
    let mut fine = true;
    for (name, (at, value)) in entries {
        // It could not be parsed, which was reported.
        if draft.problems.errors.contains(&at) {
            fine = false;
            continue;
        }
        if let Some(metric) = metric
            && !has_dimension(metric, &name, &draft.dimensions)
        {
            let message = no_dimension(metric, &name, &draft.dimensions);
            draft.problems.error(&at, message);
            fine = false;
            continue;
        }
        // A metric that could not be read is no reason to keep a second slip for later.
        if metric.is_none() && !is_dimension(&name, &draft.dimensions) {
            let message = unknown_dimension(&name, &draft.dimensions);
            draft.problems.error(&at, message);
            continue;
        }
        match condition(&value, &mut draft.problems) {
            Some(condition) => {
                filter.insert(name, condition);
            }
            None => fine = false,
        }
    }
    fine.then_some(Filter(filter))
}

/// One condition: a text in one of the forms of CONTRACT 4, or a list of texts.
pub(super) fn condition(value: &Value, problems: &mut Problems) -> Option<Match> {
    if value.it.is_array() {
        let texts = value.texts(problems);
        if texts.is_empty() && value.items().is_empty() {
            problems.error(&value.at, format!("{} is an empty list, which nothing matches", value.name));
            return None;
        }
        for text in &texts {
            if text.starts_with('!') || text.ends_with('*') {
                problems
                    .warning(&value.at, format!("`{text}` in a list is taken literally; `!x` and `x*` work only as a text of their own"));
            }
        }
        return (!texts.is_empty()).then_some(Match::AnyOf(texts));
    }
    if value.it.is_map() {
        return every(value, problems);
    }
    if !value.it.is_string() {
        value.wrong(problems, "a text (as in \"200\") or a list of texts");
        return None;
    }
    let text = value.text(problems)?;
    match Match::parse(&text) {
        Ok(condition) => {
            if let (Match::Regex(_), true) =
                (&condition, text.len() > 2 && text[1..text.len() - 1].chars().all(|c| c.is_alphanumeric() || "/_-".contains(c)))
            {
                problems.warning(
                    &value.at,
                    format!("`{text}` is a regular expression because it stands between slashes; for the path itself write [\"{text}\"]"),
                );
            }
            Some(condition)
        }
        Err(error) => {
            problems.error(&value.at, format!("{}: {error}", value.name));
            None
        }
    }
}

/// `#{ all: [conditions] }`: every one of them must hold, for what no single one says.
fn every(value: &Value, problems: &mut Problems) -> Option<Match> {
    let mut fields = value.fields(problems, &["all"])?;
    let all = fields.need("all", problems)?;
    let items = all.items();
    if !all.it.is_array() || items.is_empty() || items.len() > ALL_MAX {
        all.wrong(problems, &format!("a list of 1 to {ALL_MAX} conditions"));
        return None;
    }
    let mut conditions = Vec::new();
    for item in &items {
        match item.it.is_map() {
            true => item.wrong(problems, "a text or a list of texts"),
            false => conditions.extend(condition(item, problems)),
        }
    }
    (conditions.len() == items.len()).then_some(Match::All(conditions))
}

fn selector(draft: &mut Draft, call: &mut Call, filter_at: usize) -> Option<(Selector, Place)> {
    let name = call.arg(0, "the metric");
    let metric = metric(&name, &mut draft.problems);
    let filter =
        if call.has(filter_at) { filter(draft, &call.arg(filter_at, "`where`"), metric.as_ref()) } else { Some(Filter::default()) };
    Some((Selector { metric: metric?, filter: filter? }, name.at))
}

fn good(draft: &mut Draft, mut call: Call) -> Dynamic {
    let Some((selector, at)) = selector(draft, &mut call, 1) else { return made(None) };
    let metric = &selector.metric;
    if !metric.has_bad() {
        draft.problems.error(
            &at,
            format!("`{metric}` is never bad by itself; hold its values against a limit with within(\"{metric}\", limit, where)"),
        );
        return made(None);
    }
    if matches!(metric, Metric::JsError | Metric::Crash) {
        draft.problems.warning(&at, format!("`{metric}` is always bad, so this SLI is 0 %; use a share of sessions or page views instead"));
    }
    made(Some(Sli::Good(selector)))
}

fn held_against(draft: &mut Draft, mut call: Call, inclusive: bool) -> Dynamic {
    let chosen = selector(draft, &mut call, 2);
    let value = call.arg(1, "the limit");
    let limit = value.number(&mut draft.problems);
    if let Some(limit) = limit.filter(|limit| *limit < 0.0) {
        draft.problems.error(&value.at, format!("the limit cannot be negative, and {limit} is"));
        return made(None);
    }
    let (Some((selector, at)), Some(limit)) = (chosen, limit) else { return made(None) };
    let metric = selector.metric;
    if !metric.has_values() {
        draft.problems.error(&at, format!("`{metric}` has no values that could be held against a limit; use good(\"{metric}\", where)"));
        return made(None);
    }
    if let Some(advice) = unit_slip(&metric, limit) {
        draft.problems.warning(&value.at, advice);
    }
    made(Some(Sli::Within { metric, limit: Limit { value: limit, inclusive }, filter: selector.filter }))
}

/// A limit that is surely meant in another unit.
fn unit_slip(metric: &Metric, limit: f64) -> Option<String> {
    const MS_MIN: f64 = 10.0;
    const SHIFT_MAX: f64 = 5.0;
    match metric {
        Metric::Vital(Vital::Cls) if limit > SHIFT_MAX => {
            Some(format!("`cls` has no unit and is good up to 0.1; {limit} is beyond all pages"))
        }
        Metric::Vital(Vital::Cls) | Metric::Custom(_) => None,
        _ if limit > 0.0 && limit < MS_MIN => {
            Some(format!("values of `{metric}` are in ms: this limit is {limit} ms; write {} if seconds are meant", limit * 1000.0))
        }
        _ => None,
    }
}

fn count(draft: &mut Draft, mut call: Call) -> Dynamic {
    selector(draft, &mut call, 1).map_or_else(|| Dynamic::from(Broken), |(selector, _)| Dynamic::from(Counter(selector)))
}

fn ratio(draft: &mut Draft, mut call: Call) -> Dynamic {
    let mut side = |index: usize, name: &str| {
        let value = call.arg(index, name);
        let counter = value.it.clone().try_cast::<Counter>();
        if counter.is_none() {
            value.wrong(&mut draft.problems, "count(metric, where)");
        }
        counter
    };
    let (good, total) = (side(0, "the good count"), side(1, "the total count"));
    made(good.zip(total).map(|(good, total)| Sli::Ratio { good: good.0, total: total.0 }))
}

fn slices(draft: &mut Draft, mut call: Call) -> Dynamic {
    let inner = call.arg(0, "the SLI of the slices");
    let sli = read(&inner, &mut draft.problems);
    if matches!(sli, Some(Sli::Slices { .. } | Sli::Composite { .. } | Sli::External { .. })) {
        draft
            .problems
            .error(&inner.at, "slices are cut from good, within, below or ratio, not from slices, composites or external sources");
        return made(None);
    }
    let length = call.arg(1, "the length of a slice");
    let slice = length.length(&mut draft.problems).filter(|span| draft.check_whole_buckets("a slice", *span, &length.at));
    let target = call.arg(2, "the target of a slice");
    let left = percent(&target, &mut draft.problems, true);
    let mut empty = EmptySlice::default();
    if call.has(3)
        && let Some(mut fields) = call.arg(3, "the options of slices").fields(&mut draft.problems, &["empty"])
        && let Some(value) = fields.take("empty")
    {
        let choices = [("skip", EmptySlice::Skip), ("good", EmptySlice::Good), ("bad", EmptySlice::Bad)];
        empty = value.choice(&mut draft.problems, &choices).unwrap_or_default();
    }
    let (Some(inner), Some(slice), Some(left)) = (sli, slice, left) else { return made(None) };
    made(Some(Sli::Slices { inner: Box::new(inner), slice, target_ppm: 1_000_000 - left, empty }))
}

/// Reads a share in per cent, gives what is left of it in parts per million.
pub(super) fn percent(value: &Value, problems: &mut Problems, all_is_fine: bool) -> Option<u32> {
    let share = value.exact(problems)?;
    let hundred = Fraction::whole(100);
    if share <= Fraction::whole(0) || share > hundred || share == hundred && !all_is_fine {
        let bounds = if all_is_fine { "above 0 and at most 100" } else { "above 0 and below 100 (100 % would leave no budget)" };
        problems.error(&value.at, format!("{} is in per cent and must be {bounds}, not {share}", value.name));
        return None;
    }
    let left = (100 * share.den() - share.num()) * 10_000;
    if left % share.den() != 0 {
        problems.error(&value.at, format!("{} may have at most 4 decimals in per cent, and {share} has more", value.name));
        return None;
    }
    u32::try_from(left / share.den()).ok()
}

fn composite(draft: &mut Draft, mut call: Call) -> Dynamic {
    let members = call.arg(0, "the members of composite");
    if !members.it.is_array() {
        members.wrong(&mut draft.problems, "a list of names of SLOs");
        return made(None);
    }
    let names = members.named_texts(&mut draft.problems);
    let count = members.items().len();
    if count == 0 {
        draft.problems.error(&members.at, "a composite needs at least one member");
        return made(None);
    }
    draft.refer(RefersTo::Slo, &names);
    let weighted = match call.has(1) {
        true => call.arg(1, "the way to combine").choice(&mut draft.problems, &[("worst", false), ("weighted", true)]),
        false => Some(false),
    };
    let how = match weighted {
        Some(false) => {
            if call.has(2) {
                let weights = call.arg(2, "the weights");
                draft.problems.error(&weights.at, "weights belong to \"weighted\"; \"worst\" has none");
            }
            Some(Combine::Worst)
        }
        Some(true) => weights(draft, &mut call, count),
        None => None,
    };
    made(how.filter(|_| names.len() == count).map(|how| Sli::Composite { members: names.into_iter().map(|(name, _)| name).collect(), how }))
}

fn weights(draft: &mut Draft, call: &mut Call, count: usize) -> Option<Combine> {
    if !call.has(2) {
        return Some(Combine::Weighted(vec![Fraction::whole(1); count]));
    }
    let value = call.arg(2, "the weights");
    let items = value.items();
    if !value.it.is_array() || items.len() != count {
        draft.problems.error(&value.at, format!("there must be a weight for each of the {count} members, in a list"));
        return None;
    }
    let mut weights = Vec::with_capacity(count);
    for item in items {
        let weight = item.exact(&mut draft.problems)?;
        if weight <= Fraction::whole(0) {
            draft.problems.error(&item.at, "a weight must be above 0");
            return None;
        }
        weights.push(weight);
    }
    Some(Combine::Weighted(weights))
}

fn external(draft: &mut Draft, mut call: Call) -> Dynamic {
    let source = call.arg(0, "the source").name(&mut draft.problems);
    let mut options = BTreeMap::new();
    if call.has(1) {
        let value = call.arg(1, "the query");
        options = match value.it.is_string() {
            true => value.text(&mut draft.problems).map(|text| ("query".to_owned(), text)).into_iter().collect(),
            false => value.labels(&mut draft.problems),
        };
    }
    draft.problems.warning(&call.at, "external sources are not read yet: this SLI stays unknown");
    made(source.map(|source| Sli::External { source, options }))
}

/// Reads an SLI that a constructor made.
pub(super) fn read(value: &Value, problems: &mut Problems) -> Option<Sli> {
    let sli = value.it.clone().try_cast::<SliValue>();
    if sli.is_none() {
        value.wrong(problems, "an SLI: good(…), within(…), below(…), ratio(…), slices(…), composite(…) or external(…)");
    }
    sli.map(|sli| sli.0)
}
