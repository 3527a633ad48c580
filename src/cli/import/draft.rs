//! What an importer has understood so far: SLOs that may still lack a query, and the folder that is made of them.

use std::collections::{BTreeMap, BTreeSet};

use super::document::Node;
use super::quantity::{self, Scale};
use super::script::{self, Alerting};
use crate::domain::filter::Filter;
use crate::domain::fraction::Fraction;
use crate::domain::metric::Metric;
use crate::domain::rule::{Op, Place, Selector, Severity, Sli, Slo, SloWindow, Tier};
use crate::domain::time::Span;

/// Longest name of a rule.
const NAME_MAX: usize = 200;
/// Longest text of a field.
const TEXT_MAX: usize = 16_000;
/// Labels that alerts have anyway.
const RESERVED: [&str; 5] = ["slo", "rule", "service", "owner", "severity"];
/// Words in a key whose value is not copied anywhere.
const SECRETS: [&str; 7] = ["token", "secret", "password", "apikey", "appkey", "credential", "authorization"];

/// An SLO on its way into the rules.
pub struct Draft {
    pub slo: Slo,
    pub alerting: Alerting,
    /// What a reader of the rules must know, above the declaration.
    pub notes: Vec<String>,
    /// File of the source.
    pub source: String,
    /// Put before the name when another SLO has it too.
    pub qualifier: String,
    /// Why it cannot be declared at all; it is written as a comment then.
    pub impossible: Option<String>,
}

impl Draft {
    /// An SLO with this name, 30 days, and no query.
    pub fn new(name: &str, source: &str) -> Draft {
        let slo = Slo { enabled: false, ..Slo::new(name, 10_000, placeholder(name, None)) };
        let source = source.to_owned();
        Draft { slo, alerting: Alerting::Tiers, notes: Vec::new(), source, qualifier: String::new(), impossible: None }
    }

    /// Reads the objective; an impossible one makes the SLO a comment.
    pub fn objective(&mut self, node: &Node<'_>, scale: Scale) {
        let Some(text) = node.text() else {
            node.fault("there is no objective");
            self.impossible = Some("it has no objective".to_owned());
            return;
        };
        match quantity::objective(&text, scale) {
            Ok((ppm, odd)) => {
                self.slo.budget_ppm = 1_000_000 - ppm;
                node.mapped("objective");
                if let Some(odd) = odd {
                    self.notes.push(odd.clone());
                    node.fault(odd);
                }
            }
            Err(why) => {
                node.needs("set an objective that can be met");
                node.fault(why.clone());
                self.impossible = Some(why);
            }
        }
    }

    /// Takes a description.
    pub fn describe(&mut self, node: &Node<'_>) {
        if let Some(text) = node.text() {
            node.mapped("description");
            self.slo.description = text.trim().chars().take(TEXT_MAX / 4).collect();
        }
    }

    /// Takes the service.
    pub fn service(&mut self, node: &Node<'_>) {
        if let Some(text) = node.text() {
            node.mapped("service");
            text.trim().clone_into(&mut self.slo.service);
        }
    }

    /// Takes one label; some have a field of their own.
    pub fn label(&mut self, name: &str, node: &Node<'_>) {
        let values: Vec<String> = node.one_or_many().iter().filter_map(Node::text).collect();
        if values.is_empty() {
            return;
        }
        let value: String = values.join(",").chars().take(TEXT_MAX / 4).collect();
        match name {
            "owner" | "team" if self.slo.owner.is_empty() && values.len() == 1 => {
                self.slo.owner = value;
                node.mapped("owner");
            }
            "tier" => {
                self.slo.tier = Some(value);
                node.mapped("tier");
            }
            "service" if self.slo.service.is_empty() => {
                self.slo.service = value;
                node.mapped("service");
            }
            "runbook" | "runbook_url" => {
                self.slo.runbook = Some(value);
                node.mapped("runbook");
            }
            "dashboard" | "dashboard_url" => {
                self.slo.dashboard = Some(value);
                node.mapped("dashboard");
            }
            "severity" => node.needs("the severity of an alert is that of its tier; route by `severity` and `owner`"),
            name if RESERVED.contains(&name) => node.ignored(format!("alerts get `{name}` from the SLO itself")),
            name if name.is_empty() || name.len() > NAME_MAX || name.chars().any(char::is_control) => {
                node.needs("the name is no name of a label")
            }
            _ => {
                self.slo.labels.insert(name.to_owned(), value);
                node.mapped(format!("labels.{name}"));
            }
        }
    }

    /// Takes a map of labels.
    pub fn labels(&mut self, node: &Node<'_>) {
        for (name, value) in node.entries() {
            self.label(&name, &value);
        }
    }

    /// Keeps a query that has no binding: as a comment, with a stand-in that measures nothing until somebody maps it.
    pub fn unbound(&mut self, node: &Node<'_>, limit: Option<(f64, bool)>) {
        if !node.is_there() {
            return;
        }
        node.needs("no binding to a metric of burnwatch: the query stands in a comment and the SLO is disabled");
        self.slo.enabled = false;
        self.slo.sli = placeholder(&self.slo.name, limit);
        self.notes.push("needs mapping: the query below has no binding to a metric of burnwatch".to_owned());
        for (path, value) in node.leaves() {
            let value = if is_secret(&path) { "[not copied]" } else { value.trim_end() };
            let path = if path.is_empty() { "query".to_owned() } else { path };
            if value.contains('\n') {
                let indented: Vec<String> = value.lines().map(|line| format!("    {line}")).collect();
                self.notes.push(format!("  {path}:\n{}", indented.join("\n")));
            } else {
                self.notes.push(format!("  {path}: {value}"));
            }
        }
    }

    /// Adds a tier if it can ever hold; says why not.
    pub fn tier(&mut self, severity: Severity, long: Span, short: Span, factor: Fraction, op: Op, pending: Span) -> Result<(), String> {
        let tier = Tier { place: Place::default(), severity, long, short, factor, op, pending, keep_firing: Span::ZERO };
        possible(&tier, &self.slo.window, self.slo.budget_ppm)?;
        self.slo.tiers.push(tier);
        Ok(())
    }
}

/// Whether a tier makes sense within a window and a budget (SEMANTICS 3).
pub fn possible(tier: &Tier, window: &SloWindow, budget_ppm: u32) -> Result<(), String> {
    let period = window.nominal();
    let Tier { long, short, factor, op, .. } = tier;
    if long.millis() % 60_000 != 0 || short.millis() % 60_000 != 0 || long.millis() <= 0 || short.millis() <= 0 {
        return Err(format!("the windows {long} and {short} are not made of whole minutes"));
    }
    if *long > period {
        return Err(format!("the window of {long} is longer than the SLO's own of {period}"));
    }
    if short > long {
        return Err(format!("the short window of {short} is longer than the long one of {long}"));
    }
    // B >= 1 / (1 - T), the burn of a total outage.
    let (num, den) = (factor.num() * i128::from(budget_ppm), factor.den() * 1_000_000);
    if num > den || (num == den && *op == Op::Above) {
        let most = f64::from(1_000_000_u32) / f64::from(budget_ppm);
        return Err(format!("a burn of {factor} can never be passed: a total outage burns {most:.2} times"));
    }
    Ok(())
}

/// Whether `burn_rate()` leaves at least one tier.
pub fn preset_fits(window: &SloWindow, budget_ppm: u32) -> bool {
    let period = i128::from(window.nominal().millis());
    let shares = [(2, Span::HOUR), (5, Span::hours(6)), (10, Span::hours(24)), (10, Span::days(3))];
    shares.into_iter().any(|(share, long)| {
        let factor = Fraction::new(share * period, 100 * i128::from(long.millis()));
        let tier = |factor| Tier {
            place: Place::default(),
            severity: Severity::Page,
            long,
            short: Span(long.millis() / 12),
            factor,
            op: Op::Above,
            pending: Span::ZERO,
            keep_firing: Span::ZERO,
        };
        factor.is_some_and(|factor| possible(&tier(factor), window, budget_ppm).is_ok())
    })
}

/// Stands where a query has no binding: a metric that nothing sends, named after the SLO.
fn placeholder(name: &str, limit: Option<(f64, bool)>) -> Sli {
    let fine = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '-' };
    let name: String = name.chars().map(fine).take(64).collect();
    let metric = Metric::custom(&name).unwrap_or(Metric::Custom("unnamed".to_owned()));
    match limit {
        Some((value, inclusive)) => {
            Sli::Within { metric, limit: crate::domain::cell::Limit { value, inclusive }, filter: Filter::default() }
        }
        None => Sli::Good(Selector { metric, filter: Filter::default() }),
    }
}

/// Whether a path names something that may be a secret.
pub fn is_secret(path: &str) -> bool {
    let path: String = path.to_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
    SECRETS.iter().any(|word| path.contains(word))
}

/// Makes names fit: trimmed, bounded, unique. Says what had to change.
pub fn settle_names(drafts: &mut [Draft]) -> Vec<(usize, String)> {
    let mut taken: BTreeSet<String> = BTreeSet::new();
    let mut said = Vec::new();
    for (at, draft) in drafts.iter_mut().enumerate() {
        let source = draft.slo.name.clone();
        let clean: String = source.trim().chars().map(|c| if c.is_control() { '-' } else { c }).take(NAME_MAX / 4).collect();
        let name = if clean.is_empty() { "unnamed".to_owned() } else { clean };
        let qualified = if draft.qualifier.is_empty() { name.clone() } else { format!("{}-{name}", draft.qualifier.trim()) };
        let numbered = (2..).map(|n| format!("{qualified}-{n}"));
        let free = [name.clone(), qualified.clone()].into_iter().chain(numbered).find(|name| !taken.contains(name));
        let chosen = free.expect("numbers never end");
        if chosen != source {
            let why = if taken.contains(&name) { "another SLO has that name" } else { "the source has no usable name" };
            said.push((at, format!("the SLO `{source}` is called `{chosen}` here, because {why}")));
        }
        taken.insert(chosen.clone());
        draft.slo.name = chosen;
    }
    said
}

/// The rules files of some SLOs, one for each source file.
pub fn write(drafts: &[Draft], format: &str) -> BTreeMap<String, String> {
    let mut by_source: BTreeMap<&str, Vec<&Draft>> = BTreeMap::new();
    for draft in drafts {
        by_source.entry(&draft.source).or_default().push(draft);
    }
    let mut files = BTreeMap::new();
    for (source, drafts) in by_source {
        let mut text = script::comment("", &format!("Imported from {format}: {source}"));
        for draft in drafts {
            text.push('\n');
            for note in &draft.notes {
                text += &script::comment("", note);
            }
            let declaration = script::slo(&draft.slo, &draft.alerting);
            match &draft.impossible {
                Some(why) => {
                    text += &script::comment("", &format!("not declared, because {why}:"));
                    text += &script::comment("", &declaration);
                }
                None => text += &declaration,
            }
        }
        files.insert(file_name(source, &files), text);
    }
    files
}

/// `dir/shop.slo.yaml` becomes `shop.slo.rhai`, numbered if that is taken.
pub fn file_name(source: &str, taken: &BTreeMap<String, String>) -> String {
    let base = source.rsplit(['/', '\\']).next().unwrap_or(source);
    let stem = base.rsplit_once('.').map_or(base, |(stem, _)| stem);
    let fine = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '-' };
    let stem: String = stem.chars().map(fine).take(100).collect();
    // `…_test.rhai` are tests, and a leading dot hides a file.
    let stem = stem.trim_start_matches('.').to_owned();
    let stem = if stem.is_empty() { "imported".to_owned() } else { stem };
    let stem = if stem.ends_with("_test") { stem + "s" } else { stem };
    let names = std::iter::once(format!("{stem}.rhai")).chain((2..).map(|n| format!("{stem}-{n}.rhai")));
    names.into_iter().find(|name| !taken.contains_key(name)).expect("numbers never end")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_and_qualified_only_when_taken() {
        let named = |name: &str, qualifier: &str| Draft { qualifier: qualifier.to_owned(), ..Draft::new(name, "a.yml") };
        let mut drafts = [named("availability", "shop"), named("availability", "blog"), named("availability", "blog"), named(" ", "")];
        let said = settle_names(&mut drafts);
        let names: Vec<&str> = drafts.iter().map(|draft| draft.slo.name.as_str()).collect();
        assert_eq!(names, ["availability", "blog-availability", "blog-availability-2", "unnamed"]);
        assert_eq!(said.len(), 3);
    }

    #[test]
    fn file_names_stay_in_the_folder_and_are_rules() {
        let name = |source| file_name(source, &BTreeMap::new());
        assert_eq!(name("../../etc/shop.slo.yaml"), "shop.slo.rhai");
        assert_eq!(name("x_test.yml"), "x_tests.rhai");
        assert_eq!(name("..yml"), "imported.rhai");
        assert_eq!(file_name("a.yml", &BTreeMap::from([("a.rhai".to_owned(), String::new())])), "a-2.rhai");
    }

    #[test]
    fn tiers_that_can_never_hold_are_left_out() {
        let mut draft = Draft::new("x", "a.yml");
        draft.slo.budget_ppm = 100_000;
        let add = |draft: &mut Draft, factor, op| {
            draft.tier(Severity::Page, Span::HOUR, Span::minutes(5), Fraction::whole(factor), op, Span::ZERO)
        };
        assert!(add(&mut draft, 10, Op::Above).unwrap_err().contains("total outage burns 10.00 times"));
        assert!(add(&mut draft, 10, Op::AtLeast).is_ok() && add(&mut draft, 9, Op::Above).is_ok());
        assert!(preset_fits(&draft.slo.window, 100_000) && !preset_fits(&SloWindow::Rolling(Span::minutes(30)), 100_000));
    }

    #[test]
    fn keys_of_secrets_are_known() {
        for path in ["connectionDetails[0].apiKey", "accessToken", "http.basic_auth.password"] {
            assert!(is_secret(path), "{path}");
        }
        assert!(!is_secret("spec.query"));
    }
}
