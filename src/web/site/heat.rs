//! Which objectives and which values of which dimension stand in the cells.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::rule::Slo;
use crate::domain::snapshot::{AlertPhase, Snapshot};
use crate::web::api::slos::Rows;
use crate::web::pages::evidence::{EVENTS_MIN, Evidence};
use crate::web::pages::heat::{HeatCell, HeatRow};
use crate::web::pages::slos::Objective;

const COLUMNS_MAX: usize = 8;
const ROWS_MAX: usize = 12;

/// Objectives against the values of one dimension: the one that most budgets are split by, else the region.
pub fn heat<'a>(snapshot: &'a Snapshot, rows: &[Objective<'a>], evidence: Option<&Evidence>) -> (String, Vec<HeatRow<'a>>) {
    let dimension = dimension(snapshot);
    let grouped = |slo: &Slo| slo.by.len() == 1 && slo.by[0] == dimension;
    let measured = |slo: &Slo| evidence.and_then(|evidence| evidence.regions.get(&slo.name));
    let chosen: Vec<&Objective<'a>> = rows.iter().filter(|row| grouped(row.slo) || measured(row.slo).is_some()).take(ROWS_MAX).collect();
    // The values with the most traffic over all, in the order of their names. Windows differ by objective,
    // so each has one vote of a size of its own.
    let all = Rows::new(snapshot);
    let mut traffic: BTreeMap<String, f64> = BTreeMap::new();
    for row in &chosen {
        let mut counts: Vec<(String, f64)> = Vec::new();
        if grouped(row.slo) {
            counts.extend(all.of(row.slo).iter().filter_map(|status| Some((status.group.get(&dimension)?.clone(), status.total))));
        } else {
            counts.extend(measured(row.slo).into_iter().flatten().map(|(value, _, total)| (value.clone(), *total)));
        }
        let whole: f64 = counts.iter().map(|(_, total)| total).sum();
        for (value, total) in counts.into_iter().filter(|_| whole > 0.0) {
            *traffic.entry(value).or_default() += total / whole;
        }
    }
    let mut values: Vec<(String, f64)> = traffic.into_iter().collect();
    values.sort_by(|a, b| b.1.total_cmp(&a.1));
    let columns: BTreeSet<String> = values.into_iter().take(COLUMNS_MAX).map(|(value, _)| value).collect();
    if columns.is_empty() {
        return (String::new(), Vec::new());
    }
    let cell = |row: &Objective<'a>, value: &String| {
        if grouped(row.slo) {
            return all.group(row.slo, &dimension, value).map_or(HeatCell::Unknown, HeatCell::Group);
        }
        let known = measured(row.slo).and_then(|regions| regions.iter().find(|(have, _, total)| have == value && *total >= EVENTS_MIN));
        let Some((_, burn, _)) = known else { return HeatCell::Unknown };
        let limit = row.slo.tiers.iter().min_by_key(|tier| tier.long).map_or(f64::INFINITY, |tier| tier.factor.to_f64());
        let firing = row.status.severity.filter(|_| row.status.state == AlertPhase::Firing);
        HeatCell::Measured { burn: *burn, over: *burn > limit, firing }
    };
    let heat = chosen.into_iter().map(|row| (row.slo, columns.iter().map(|value| (value.clone(), cell(row, value))).collect())).collect();
    (dimension, heat)
}

/// The dimension that most budgets are split by, else the region.
pub fn dimension(snapshot: &Snapshot) -> String {
    let mut shared: BTreeMap<&str, usize> = BTreeMap::new();
    for slo in snapshot.rules.slos.iter().filter(|slo| slo.enabled && slo.by.len() == 1) {
        *shared.entry(&slo.by[0]).or_default() += 1;
    }
    shared.into_iter().max_by_key(|(_, count)| *count).map_or("region", |(name, _)| name).to_owned()
}
