//! `/rules/{name}`: one rule with its source, and what its last change was.

use std::collections::BTreeMap;

use axum::extract::Path;
use axum::response::Response;

use super::Site;
use crate::store::rule_sets::{self, RuleSetRow};
use crate::web::frame::Page;
use crate::web::pages::rule::{self as pages, Changed, Cost, Kind, LINES_MAX, Line, Model};
use crate::web::problem::Problem;

/// How many revisions are looked at for the last change of a rule.
const REVISIONS_MAX: usize = 20;

pub async fn page(site: Site, Path(name): Path<String>) -> Response {
    let page = read(&site, &name).await;
    site.show(page).await
}

async fn read(site: &Site, name: &str) -> Result<Page, Problem> {
    let snapshot = site.state.snapshot.load_full();
    let set = &snapshot.rules;
    let free = || set.alerts.iter().find(|rule| rule.name == name).map(Kind::Free);
    let kind = set.slo(name).map(Kind::Slo).or_else(free).ok_or_else(|| Problem::unknown("rule", name))?;
    let mut tx = site.state.store.read().await?;
    let rows = rule_sets::list(&mut tx, REVISIONS_MAX).await?;
    let current = match rows.iter().find(|row| row.revision == set.revision) {
        Some(row) => Some(row.clone()),
        None => rule_sets::get(&mut tx, &set.revision).await?,
    };
    drop(tx);
    let files = current.as_ref().map(files_of).unwrap_or_default();
    let place = kind.place();
    let source = files.get(&place.path).map(|text| (place.line, declaration(text, place.line)));
    let earlier: Vec<&RuleSetRow> = match &current {
        Some(current) => {
            rows.iter().filter(|row| row.good == 1 && row.loaded_at <= current.loaded_at && row.revision != current.revision).collect()
        }
        None => Vec::new(),
    };
    let changed = match (&current, &source) {
        (Some(current), Some((_, lines))) => compare(&kind, current, lines, &earlier),
        (Some(_), None) | (None, _) => Changed::NotFound,
    };
    let metrics = match kind {
        Kind::Slo(_) => String::new(),
        Kind::Free(_) => site.state.metrics.render(),
    };
    let errors = match kind {
        Kind::Slo(_) => None,
        Kind::Free(_) => Some(errors_of(&metrics, name)),
    };
    Ok(pages::page(&Model {
        kind,
        asked: matches!(kind, Kind::Slo(_)) || snapshot.asked.contains(name),
        alerts: snapshot.alerts.iter().filter(|alert| alert.rule == name).map(|alert| &**alert).collect(),
        source,
        changed,
        errors,
        cost: cost_of(&metrics, name),
        took: snapshot.took,
        evaluated_at: snapshot.evaluated_at,
        now: site.now,
    }))
}

fn files_of(row: &RuleSetRow) -> BTreeMap<String, String> {
    serde_json::from_str(&row.files).unwrap_or_default()
}

/// The lines of the call that begins in this line (from 1), up to where its brackets close.
fn declaration(text: &str, line: usize) -> Vec<String> {
    let mut depth = 0_i64;
    let mut opened = false;
    let mut lines = Vec::new();
    for line in text.lines().skip(line.saturating_sub(1)).take(LINES_MAX) {
        lines.push(line.to_owned());
        let (mut quoted, mut escaped, mut before) = (None, false, ' ');
        for c in line.chars() {
            match quoted {
                Some(quote) => {
                    if !escaped && c == quote {
                        quoted = None;
                    }
                    escaped = c == '\\' && !escaped;
                }
                None if c == '/' && before == '/' => break,
                None if c == '"' || c == '`' => quoted = Some(c),
                None if "([{".contains(c) => {
                    depth += 1;
                    opened = true;
                }
                None if ")]}".contains(c) => depth -= 1,
                None => {}
            }
            before = c;
        }
        if opened && depth <= 0 {
            break;
        }
    }
    lines
}

/// The declaration of a rule of this name in a revision, wherever it stands there.
fn find(kind: &Kind<'_>, files: &BTreeMap<String, String>) -> Option<Vec<String>> {
    let begins = format!("{}({:?}", kind.word(), kind.name());
    files.values().find_map(|text| {
        let line = text.lines().position(|line| line.replace("( ", "(").contains(&begins))?;
        Some(declaration(text, line + 1))
    })
}

/// Goes back in time until the declaration was another one. `earlier` is newest first.
fn compare(kind: &Kind<'_>, current: &RuleSetRow, lines: &[String], earlier: &[&RuleSetRow]) -> Changed {
    let mut newer = current;
    if find(kind, &files_of(current)).is_none() {
        return Changed::NotFound;
    }
    for row in earlier {
        match find(kind, &files_of(row)) {
            None => return Changed::Added { revision: newer.revision.clone(), at: newer.loaded_at },
            Some(before) if before != lines => {
                return Changed::Since {
                    before: row.revision.clone(),
                    revision: newer.revision.clone(),
                    at: newer.loaded_at,
                    lines: difference(&before, lines),
                };
            }
            Some(_) => newer = row,
        }
    }
    Changed::Never { revisions: earlier.len() + 1 }
}

/// The longest common lines stay, all others are gone or new.
fn difference(before: &[String], after: &[String]) -> Vec<Line> {
    let (n, m) = (before.len(), after.len());
    let mut common = vec![vec![0_u32; m + 1]; n + 1];
    for i in (0..n).rev() {
        for j in (0..m).rev() {
            common[i][j] = if before[i] == after[j] { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::with_capacity(n + m));
    while i < n || j < m {
        if i < n && j < m && before[i] == after[j] {
            lines.push(Line::Same(after[j].clone()));
            (i, j) = (i + 1, j + 1);
        } else if j == m || (i < n && common[i + 1][j] >= common[i][j + 1]) {
            lines.push(Line::Gone(before[i].clone()));
            i += 1;
        } else {
            lines.push(Line::New(after[j].clone()));
            j += 1;
        }
    }
    lines
}

/// The lines that [`cost_of`] reads.
pub(super) fn costs_only(metrics: &str) -> String {
    let own = metrics.lines().filter(|line| line.starts_with("burnwatch_rule_duration_seconds"));
    own.flat_map(|line| [line, "\n"]).collect()
}

/// How long a rule takes, out of the metric's text.
pub(super) fn cost_of(metrics: &str, name: &str) -> Option<Cost> {
    let of = |suffix: &str, more: &str| format!("burnwatch_rule_duration_seconds{suffix}{{rule={name:?}{more}");
    let value = |start: &str| metrics.lines().find_map(|line| line.strip_prefix(start)?.trim().parse::<f64>().ok());
    let asked = value(&of("_count", "} "))?;
    let buckets = of("_bucket", ",le=\"");
    let longest = metrics.lines().find_map(|line| {
        let (bound, count) = line.strip_prefix(&buckets)?.split_once("\"} ")?;
        // Counts are cumulative: the first bucket that holds all of them bounds the longest.
        (count.parse::<f64>().ok()? >= asked).then(|| bound.parse::<f64>().ok().filter(|bound| bound.is_finite()))
    });
    let sum = value(&of("_sum", "} "))?;
    (asked > 0.0).then(|| Cost { asked: asked as u64, mean_secs: sum / asked, longest_secs: longest.flatten() })
}

/// How often a rule failed, out of the daemon's own metrics.
fn errors_of(metrics: &str, name: &str) -> u64 {
    let label = format!("burnwatch_rule_errors_total{{rule={name:?}}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&label)?.trim().parse::<f64>().ok()).map_or(0, |count| count as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;
    use crate::web::fixture;

    const OLD: &str = "// two\nslo(\"checkout-api\", #{\n  objective: 99.5, // (\n  note: \") }\",\n});\nslo(\"other\", #{});\n";
    const NEW: &str = "slo(\"checkout-api\", #{\n  objective: 99.9, // (\n  note: \") }\",\n});\n";

    fn row(revision: &str, at: i64, text: &str) -> RuleSetRow {
        let files = serde_json::json!({ "a.rhai": text }).to_string();
        RuleSetRow { revision: revision.into(), files, loaded_at: Timestamp(at), good: 1 }
    }

    #[test]
    fn a_declaration_ends_where_its_brackets_close() {
        assert_eq!(declaration(OLD, 2).len(), 4, "brackets in texts and comments do not count");
        assert_eq!(declaration(OLD, 6), ["slo(\"other\", #{});"]);
        assert!(declaration(OLD, 99).is_empty());
    }

    #[test]
    fn the_last_change_is_found_behind_revisions_that_left_the_rule_alone() {
        let slo = fixture::slo();
        let kind = Kind::Slo(&slo);
        let lines = declaration(NEW, 1);
        let (now, same, old, none) = (row("d", 4, NEW), row("c", 3, &format!("// x\n{NEW}")), row("b", 2, OLD), row("a", 1, "// nothing"));
        let found = compare(&kind, &now, &lines, &[&same, &old]);
        let Changed::Since { before, revision, at, lines: changed } = found else { panic!("{found:?}") };
        assert_eq!((before.as_str(), revision.as_str(), at), ("b", "c", Timestamp(3)));
        assert_eq!(changed[1..3], [Line::Gone("  objective: 99.5, // (".into()), Line::New("  objective: 99.9, // (".into())]);
        assert_eq!(compare(&kind, &now, &lines, &[&none]), Changed::Added { revision: "d".into(), at: Timestamp(4) });
        assert_eq!(compare(&kind, &now, &lines, &[&same]), Changed::Never { revisions: 2 });
        assert_eq!(compare(&kind, &none, &[], &[]), Changed::NotFound);
    }

    #[test]
    fn the_cost_of_a_rule_is_read_from_its_buckets() {
        let name = "burnwatch_rule_duration_seconds";
        let metrics = format!(
            "{name}_bucket{{rule=\"a\",le=\"0.005\"}} 3\n{name}_bucket{{rule=\"a\",le=\"0.01\"}} 4\n{name}_bucket{{rule=\"a\",le=\"+Inf\"}} 4\n\
             {name}_sum{{rule=\"a\"}} 0.012\n{name}_count{{rule=\"a\"}} 4\n"
        );
        let cost = cost_of(&costs_only(&format!("other{{le=\"1\"}} 1\n{metrics}")), "a").unwrap();
        assert_eq!((cost.asked, cost.mean_secs, cost.longest_secs), (4, 0.003, Some(0.01)));
        assert_eq!(cost.words(), "3 ms on average, none over 10 ms, asked 4 times");
        assert_eq!(cost_of(&metrics, "b"), None);
    }

    #[test]
    fn errors_are_counted_by_the_rule() {
        let metrics = "# TYPE\nburnwatch_rule_errors_total{rule=\"a\"} 2\nburnwatch_rule_errors_total{rule=\"ab\"} 3\n";
        assert_eq!([errors_of(metrics, "a"), errors_of(metrics, "ab"), errors_of(metrics, "b")], [2, 3, 0]);
    }
}
