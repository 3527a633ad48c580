//! What an incident says beside "it burns": who is hit, how much is lost, and which segment carries it.
//!
//! A [`Case`] holds the sums that an explanation rests on, one row per series of the alert's SLI. It can be
//! carried on from one computation to the next, which then reads only what is new, or be made afresh each
//! time; the answer is the same.

mod rows;
mod title;

use super::archive::{Archive, Ask};
use super::cell::{Counts, Limit, UNIT};
use super::desk::Findings;
use super::evaluate::{AlertEvent, Evaluator, is_no_data};
use super::explain::{self, Explanation};
use super::filter::{Filter, Match};
use super::incident::{Explained, Incident, Input, Member};
use super::lookup::{LeftOut, narrowed};
use super::measure::{BudgetOf, Subject};
use super::metric::Metric;
use super::notification::{Change, Impact, Verdict};
use super::route::canonical;
use super::rule::{Labels, RuleSet, Selector, Sli, Slo};
use super::series::Series;
use super::telemetry;
use super::time::{Span, Timestamp};
use super::window::events;
use rows::{Reading, Rows};

/// Changes this long before the window's start and after it are shown (EXPLAIN 3).
const CHANGES_BEFORE: Span = Span::minutes(60);
const CHANGES_AFTER: Span = Span::minutes(5);
/// How long what was said of the top source is news.
const TOP_SOURCE_FRESH: Span = Span::minutes(10);
/// How many example traces an alert comes with.
const TRACES_MAX: usize = 5;
/// Incidents of free-form rules look this far back from their opening at most.
const FREE_WINDOW_MAX: Span = Span::DAY;

/// What findings are made from.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    pub rules: &'a RuleSet,
    pub evaluator: &'a Evaluator,
    pub archive: &'a dyn Archive,
    pub bucket: Span,
    /// The logical time: the window ends here.
    pub now: Timestamp,
    /// Earlier incidents and exclusions: no part of the baseline.
    pub left_out: &'a [LeftOut],
}

/// What an SLI reads.
#[derive(Clone, Debug, PartialEq)]
enum Source {
    /// Events of one metric; bad by themselves, or by a limit.
    Events { metric: Metric, filter: Filter, limit: Option<Limit> },
    /// A share of two counts.
    Ratio { good: Selector, total: Selector },
    /// Events that are all bad, set against those among which they happen.
    Rate { bad: Selector, of: Selector },
}

impl Source {
    /// The filter of all that is counted.
    fn filter(&self) -> &Filter {
        match self {
            Source::Events { filter, .. } => filter,
            Source::Ratio { total, .. } => &total.filter,
            Source::Rate { bad, .. } => &bad.filter,
        }
    }
}

/// The sums of an alert's series, over its window and over the baseline before it.
#[derive(Clone, Debug)]
pub struct Case {
    /// The SLO, or the free-form rule.
    rule: String,
    /// The SLO whose budget is told; empty: none.
    slo: String,
    /// What an alert of a free-form rule says.
    summary: String,
    /// The groups of the SLO that it is about; one empty group without `by`.
    groups: Vec<Labels>,
    source: Source,
    from: Timestamp,
    /// Up to where the window was read.
    read_to: Timestamp,
    baseline: (Timestamp, Timestamp),
    baseline_read: bool,
    rows: Rows,
}

/// What an opening alert's incident says.
pub fn findings(event: &AlertEvent, around: &Around<'_>) -> Result<Findings, String> {
    match Case::of_alert(event, around) {
        Some(mut case) => {
            case.read(around)?;
            case.findings(around, &Explained::default())
        }
        None => {
            let app = around.rules.slo(&event.rule).and_then(|slo| app(&slo.sli));
            let changes = changes_near(around, event.at, app.as_deref())?;
            Ok(Findings { changes, window_start: Some(event.at), ..Findings::default() })
        }
    }
}

/// What a living incident says at a later time; `None` if there is nothing new to say.
pub fn refresh(incident: &Incident, around: &Around<'_>) -> Result<Option<Input>, String> {
    match Case::of_incident(incident, around) {
        Some(mut case) => {
            case.read(around)?;
            Ok(Some(explained(incident, case.findings(around, &incident.explained)?)))
        }
        None => Ok(None),
    }
}

/// Later findings as the step of an incident.
pub fn explained(incident: &Incident, findings: Findings) -> Input {
    let title = if findings.title.is_empty() { incident.title.clone() } else { findings.title };
    Input::Explained { explained: Box::new(findings.explained), impact: findings.impact, changes: findings.changes, title }
}

impl Case {
    /// The case of an alert that opens. `None`: there are no series to look at, as with a free-form rule.
    pub fn of_alert(event: &AlertEvent, around: &Around<'_>) -> Option<Case> {
        if let Some(subject) = &event.subject {
            let window = subject.window.clamp(around.bucket, FREE_WINDOW_MAX);
            let burning = subject.budget.as_ref().and_then(|budget| burning(budget, window, event.at, around));
            let from = burning.unwrap_or(event.at - window);
            return Case::free(&event.rule, &event.summary, subject, from.floor(around.bucket), around);
        }
        let slo = around.rules.slo(&event.rule).filter(|_| !is_no_data(&event.labels))?;
        let (long, short) = windows(slo, event.figures.long, event.figures.short);
        let from = around.evaluator.burning_since(&slo.name, &event.group, long).unwrap_or(event.at - around.bucket);
        Case::new(slo, vec![group_of(slo, &event.labels)], from, short, around)
    }

    /// The case of an incident: of its first alert that still fires on an SLO, with all firing groups of that SLO.
    /// The window begins where it began when the incident opened.
    pub fn of_incident(incident: &Incident, around: &Around<'_>) -> Option<Case> {
        let Some((slo, groups, short)) = lead(incident, around.rules) else {
            let (member, subject) = free_lead(incident)?;
            return Case::free(&member.rule, &member.summary, subject, incident.window_start, around);
        };
        Case::new(slo, groups, incident.window_start, short, around)
    }

    /// Of a free-form rule, whose queries are narrowed to its group already. One about a budget is about what spends it.
    fn free(rule: &str, summary: &str, subject: &Subject, from: Timestamp, around: &Around<'_>) -> Option<Case> {
        if let Some(budget) = &subject.budget {
            let slo = around.rules.slo(&budget.slo)?;
            let case = Case::new(slo, vec![budget.group.clone()], from, Span::minutes(5), around)?;
            return Some(Case { rule: rule.to_owned(), summary: summary.to_owned(), ..case });
        }
        let Selector { metric, filter } = subject.of.clone();
        let source = match &subject.per {
            Some(per) => Source::Rate { bad: subject.of.clone(), of: per.clone() },
            None => Source::Events { metric, filter, limit: None },
        };
        Some(Case {
            rule: rule.to_owned(),
            slo: String::new(),
            summary: summary.to_owned(),
            groups: vec![Labels::new()],
            source,
            from,
            read_to: from,
            baseline: explain::baseline(from, Span::minutes(5)),
            baseline_read: false,
            rows: Rows::default(),
        })
    }

    /// Whether it is still the case of this incident, so that reading on is enough.
    pub fn is_of(&self, incident: &Incident, around: &Around<'_>) -> bool {
        let same = match lead(incident, around.rules) {
            Some((slo, groups, _)) => slo.name == self.rule && groups == self.groups,
            None => free_lead(incident).is_some_and(|(member, _)| member.rule == self.rule),
        };
        same && self.from == incident.window_start
    }

    fn new(slo: &Slo, groups: Vec<Labels>, from: Timestamp, short: Span, around: &Around<'_>) -> Option<Case> {
        // Of a composite, what happened is seen at the SLO below it that burns most.
        let leading = around.evaluator.leading_slo(&slo.name, groups.first()?).and_then(|name| around.rules.slo(name));
        Some(Case {
            rule: slo.name.clone(),
            slo: slo.name.clone(),
            summary: String::new(),
            source: source(&leading.unwrap_or(slo).sli)?,
            groups,
            from,
            read_to: from,
            baseline: explain::baseline(from, short),
            baseline_read: false,
            rows: Rows::default(),
        })
    }

    /// The SLO or the free-form rule that it is about.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// Reads what is new up to `around.now`, and the baseline once.
    pub fn read(&mut self, around: &Around<'_>) -> Result<(), String> {
        let reading = |from, to, baseline| Reading { archive: around.archive, bucket: around.bucket, from, to, baseline };
        if !self.baseline_read {
            for (from, to) in self.baseline_pieces(around.left_out) {
                self.rows.read(&self.source, &self.groups, &reading(from.floor(around.bucket), to.floor(around.bucket), true))?;
            }
            self.baseline_read = true;
        }
        if self.read_to < around.now {
            self.rows.read(&self.source, &self.groups, &reading(self.read_to, around.now, false))?;
            self.read_to = around.now;
        }
        Ok(())
    }

    /// The baseline without incidents and exclusions. If nothing is left, they stay: poor is better than none.
    fn baseline_pieces(&self, left_out: &[LeftOut]) -> Vec<(Timestamp, Timestamp)> {
        let filter = self.source.filter();
        let mut pieces = vec![self.baseline];
        for out in left_out.iter().filter(|out| out.touches(filter, self.baseline.0, self.baseline.1)) {
            let cut = |(from, to): (Timestamp, Timestamp)| [(from, to.min(out.from)), (from.max(out.to), to)];
            pieces = pieces.into_iter().flat_map(cut).filter(|(from, to)| from < to).collect();
        }
        if pieces.is_empty() { vec![self.baseline] } else { pieces }
    }

    /// What every event that it looks at has in common.
    fn scope(&self) -> Labels {
        let filter = self.source.filter();
        let mut scope: Labels = filter.0.keys().filter_map(|name| Some((name.clone(), filter.equal(name)?.to_owned()))).collect();
        if let [group] = &self.groups[..] {
            scope.extend(group.clone());
        }
        scope
    }

    /// What the sums say. `held` is what the incident said before.
    pub fn findings(&self, around: &Around<'_>, held: &Explained) -> Result<Findings, String> {
        let slo = around.rules.slo(&self.slo);
        if slo.is_none() && self.summary.is_empty() {
            return Err(format!("there is no SLO `{}`", self.rule));
        }
        let named = || self.source.filter().equal("app").map(str::to_owned);
        let app = slo.and_then(|slo| app(&slo.sli)).or_else(named).unwrap_or_default();
        let changes = changes_near(around, self.from, Some(app.as_str()).filter(|app| !app.is_empty()))?;
        let table = self.rows.table(&self.source);
        let lines: Vec<explain::Row<'_>> = table.iter().map(|row| row.line()).collect();
        let mut answer = explain::explain(&explain::Input { app: &app, rows: &lines, changes: &changes, window_start: self.from });
        answer.count_users(|rows| rows::users(rows.iter().map(|row| &table[*row])));
        let mut sum = Counts::ZERO;
        table.iter().for_each(|row| sum += row.window());
        // Where good and total come from series that do not fit together, only the sums are right.
        let sum = self.rows.sum(&self.source).unwrap_or(sum);
        let budget = slo.map(|slo| self.budget(slo, sum, around)).unwrap_or_default();
        let impact = Impact { affected_users: rows::users(table.iter()), bad_events: events(sum.bad.max(0)), ..budget };
        let top_source = self.top_source(around, &app)?;
        let explained = Explained { app: app.clone(), top_source, ..keep_or_take(&answer, held, self.scope()) };
        let traces = self.traces(around, &explained)?;
        let takes = answer.verdict == explained.verdict || held.sentence.is_empty();
        let title = if takes { with_source(self.title(sum, &answer), top_source) } else { String::new() };
        Ok(Findings { explained, impact, changes, window_start: Some(self.from), title, traces, footing: None })
    }

    /// How much of the bad events came from the one network that brought most, as the intake said last.
    fn top_source(&self, around: &Around<'_>, app: &str) -> Result<Option<f64>, String> {
        let metric = match &self.source {
            Source::Events { limit: Some(_), .. } => return Ok(None),
            Source::Events { metric, limit: None, .. } => metric,
            Source::Ratio { total: of, .. } | Source::Rate { bad: of, .. } => &of.metric,
        };
        let is = |value: String| Match::Equal(value);
        let filter =
            Filter([("app".to_owned(), is(format!("{}{app}", telemetry::APP))), ("route".to_owned(), is(metric.to_string()))].into());
        let told = Metric::Custom(telemetry::TOP_SOURCE.to_owned());
        let from = (around.now - TOP_SOURCE_FRESH).floor(around.bucket);
        let ask = Ask { metric: &told, filter: &filter, from, to: around.now, step: around.bucket, detail: false };
        let mut last: Option<(Timestamp, f64)> = None;
        around.archive.cells(&ask, &mut |_, at, cell| {
            let share = cell.sum / (cell.valued.total as f64 / UNIT as f64);
            if share.is_finite() && last.is_none_or(|(known, _)| known <= at) {
                last = Some((at, share));
            }
        })?;
        Ok(last.map(|(_, share)| share.clamp(0.0, 1.0)))
    }

    /// Examples of what went bad, those of the first suspect before all others. What missed a limit is not known one by one.
    fn traces(&self, around: &Around<'_>, explained: &Explained) -> Result<Vec<String>, String> {
        let (metric, filter) = match &self.source {
            Source::Events { limit: Some(_), .. } => return Ok(Vec::new()),
            Source::Events { metric, filter, limit: None } => (metric, filter),
            Source::Ratio { total: of, .. } | Source::Rate { bad: of, .. } => (&of.metric, &of.filter),
        };
        let ask = Ask { metric, filter, from: self.from, to: around.now, step: around.bucket, detail: false };
        let mut found = around.archive.traces(&ask)?;
        let in_group = |series: &Series| self.groups.iter().any(|group| group.iter().all(|(name, value)| series.get(name) == value));
        found.retain(|(series, _)| in_group(series));
        if let Some(suspect) = explained.suspects.first() {
            found.sort_by_key(|(series, _)| {
                !suspect.terms.iter().all(|(name, values)| values.all().iter().any(|value| value == series.get(name)))
            });
        }
        let mut traces: Vec<String> = Vec::new();
        for (_, trace) in found {
            if traces.len() < TRACES_MAX && !traces.contains(&trace) {
                traces.push(trace);
            }
        }
        Ok(traces)
    }

    /// How much of the budget went since the window began, and what is left of it, over all groups.
    fn budget(&self, slo: &Slo, window: Counts, around: &Around<'_>) -> Impact {
        if let Sli::Composite { .. } = slo.sli {
            return self.budget_of_all(slo, around);
        }
        let (mut whole, mut since) = (Counts::ZERO, Counts::ZERO);
        for group in &self.groups {
            whole += around.evaluator.window(&slo.name, group, None).unwrap_or(Counts::ZERO);
            since += around.evaluator.since(&slo.name, group, self.from).unwrap_or(Counts::ZERO);
        }
        // A budget of time slices is spent in slices, not in events.
        let spent = if matches!(slo.sli, Sli::Slices { .. }) { since.bad } else { window.bad };
        let allowed = whole.total as f64 * f64::from(slo.budget_ppm) / 1e6;
        if allowed <= 0.0 {
            return Impact::default();
        }
        Impact {
            budget_consumed: spent.max(0) as f64 / allowed,
            budget_remaining: 1.0 - whole.bad.max(0) as f64 / allowed,
            ..Impact::default()
        }
    }

    /// A composite has no events of its own: what its members spent counts as their burns do. Of several groups the worst
    /// speaks, because shares of different budgets do not add up.
    fn budget_of_all(&self, slo: &Slo, around: &Around<'_>) -> Impact {
        let burn = |group: &Labels| around.evaluator.combined_burn(&slo.name, group, None);
        let spent = |group: &Labels| around.evaluator.combined_spent(&slo.name, group, self.from);
        let Some(worst) = self.groups.iter().filter_map(burn).max_by(f64::total_cmp) else { return Impact::default() };
        Impact {
            budget_consumed: self.groups.iter().filter_map(spent).fold(0.0, f64::max),
            budget_remaining: 1.0 - worst,
            ..Impact::default()
        }
    }

    /// "1 in 9 requests to /api/checkout fails, 92 % of the rise from release 2.3.1 in region de".
    fn title(&self, sum: Counts, answer: &Explanation) -> String {
        let brief = explain::brief(answer, &self.scope());
        let title = match (self.summary.is_empty(), title::failing(&self.source, &self.groups, sum)) {
            (true, Some(failing)) => failing,
            // Nothing was bad that is still stored: the rule's name is all that can be said.
            (true, None) => format!("{} burns its budget", self.rule),
            (false, _) => self.summary.clone(),
        };
        if brief.is_empty() { title } else { format!("{title}, {brief}") }
    }
}

/// Whether most of it comes from one network is what somebody who is woken wants to know first.
fn with_source(title: String, top_source: Option<f64>) -> String {
    match top_source.filter(|share| *share >= telemetry::MOST) {
        Some(share) => format!("{title}, {:.0} % of it from one network", share * 100.0),
        None => title,
    }
}

/// Since when a budget burns without a break, at most `back` long; `None`: it does not burn now.
fn burning(budget: &BudgetOf, back: Span, now: Timestamp, around: &Around<'_>) -> Option<Timestamp> {
    let group = if budget.group.is_empty() { String::new() } else { canonical(&budget.group) };
    let since = around.evaluator.burning_since(&budget.slo, &group, back)?;
    (since < now - around.bucket).then_some(since)
}

/// Windows of the governing tier, or of all tiers where none governs.
fn windows(slo: &Slo, long: Option<Span>, short: Option<Span>) -> (Span, Span) {
    let longest = slo.tiers.iter().map(|tier| tier.long).max().unwrap_or(Span::HOUR);
    let shortest = slo.tiers.iter().map(|tier| tier.short).min().unwrap_or(Span::minutes(5));
    (long.unwrap_or(longest), short.unwrap_or(shortest))
}

/// The SLO that speaks for an incident, its firing groups, and the short window of its tier.
fn lead<'r>(incident: &Incident, rules: &'r RuleSet) -> Option<(&'r Slo, Vec<Labels>, Span)> {
    let firing = || incident.members.iter().filter(|member| member.firing && !is_no_data(&member.labels));
    let (slo, first): (&Slo, &Member) = firing().find_map(|member| Some((rules.slo(&member.rule)?, member)))?;
    let mut groups: Vec<Labels> = firing().filter(|member| member.rule == slo.name).map(|member| group_of(slo, &member.labels)).collect();
    groups.sort();
    groups.dedup();
    Some((slo, groups, windows(slo, first.figures.long, first.figures.short).1))
}

/// The first alert of a free-form rule that fires and says what it looked at.
fn free_lead(incident: &Incident) -> Option<(&Member, &Subject)> {
    incident.members.iter().filter(|member| member.firing).find_map(|member| Some((member, member.subject.as_ref()?)))
}

fn group_of(slo: &Slo, labels: &Labels) -> Labels {
    slo.by.iter().map(|name| (name.clone(), labels.get(name).cloned().unwrap_or_default())).collect()
}

/// What to read for an SLI; of a composite nothing: it has no events of its own.
fn source(sli: &Sli) -> Option<Source> {
    match sli {
        Sli::Good(Selector { metric, filter }) => Some(Source::Events { metric: metric.clone(), filter: filter.clone(), limit: None }),
        Sli::Within { metric, limit, filter } => {
            Some(Source::Events { metric: metric.clone(), filter: filter.clone(), limit: Some(*limit) })
        }
        Sli::Ratio { good, total } => Some(Source::Ratio { good: good.clone(), total: total.clone() }),
        Sli::Slices { inner, .. } => source(inner),
        Sli::Composite { .. } | Sli::External { .. } => None,
    }
}

/// The app that an SLI looks at, where it names exactly one.
fn app(sli: &Sli) -> Option<String> {
    sli.inputs().first().and_then(|(selector, _)| selector.filter.equal("app").map(str::to_owned))
}

/// The time that a closed incident takes out of what is usual. `None`: it says nothing about the apps, because it is
/// about burnwatch itself or not closed.
pub fn past(rules: &RuleSet, incident: &Incident) -> Option<LeftOut> {
    let to = incident.resolved_at?;
    let operator = |member: &Member| member.labels.get("kind").is_some_and(|kind| kind == "operator");
    if incident.members.iter().any(operator) {
        return None;
    }
    let of_slo = |member: &Member| rules.slo(&member.rule).and_then(|slo| app(&slo.sli));
    let app = incident.members.iter().find_map(|member| of_slo(member).or_else(|| member.labels.get("app").cloned()));
    Some(LeftOut { app, from: incident.window_start, to })
}

fn changes_near(around: &Around<'_>, from: Timestamp, app: Option<&str>) -> Result<Vec<Change>, String> {
    // A simulated now must not see what comes later.
    let to = (from + CHANGES_AFTER).min(around.now);
    around.archive.changes(from - CHANGES_BEFORE, to + Span(1), app)
}

/// What an incident says after a new answer. One that knows less than the last is not taken over: a name is
/// never given up for "everywhere", nor anything for "unknown".
fn keep_or_take(answer: &Explanation, held: &Explained, scope: Labels) -> Explained {
    let mut signature = held.held.clone();
    signature.update(answer);
    let knows = |verdict: Verdict| match verdict {
        Verdict::Unknown => 0,
        Verdict::Global => 1,
        Verdict::Segment => 2,
    };
    if knows(answer.verdict) < knows(held.verdict) {
        return Explained { held: signature, scope, ..held.clone() };
    }
    Explained {
        signature: signature.key(),
        verdict: answer.verdict,
        suspects: answer.suspects(),
        sentence: explain::sentence(answer, &scope),
        reason: if answer.verdict == Verdict::Segment { String::new() } else { answer.reason.to_string() },
        held: signature,
        scope,
        app: held.app.clone(),
        top_source: held.top_source,
    }
}

#[cfg(test)]
#[path = "findings_tests.rs"]
mod tests;
