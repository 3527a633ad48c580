//! Cells of objectives or services against the values of a dimension: where it hurts.
//!
//! Always holds: what was not measured, or too seldom to say, is hatched and a question mark, never calm; a cell
//! that is over its limit has a shape beside its colour.

use std::sync::Arc;

use maud::{Markup, html};

use super::slos::{group_query, slo_path};
use crate::domain::rule::{Severity, Sli, Slo};
use crate::domain::snapshot::{AlertPhase, SloStatus};
use crate::web::frame::shape;
use crate::web::icon::Icon;
use crate::web::number;
use crate::web::text::{Plain, clip};

/// An objective against the values of a dimension.
pub type HeatRow<'a> = (&'a Slo, Vec<(String, HeatCell)>);

/// How an objective burns at one value of a dimension.
#[derive(Clone, Debug)]
pub enum HeatCell {
    /// It has a budget of its own there.
    Group(Arc<SloStatus>),
    /// Its budget is one for all values; this is what history says of this one. `over` the limit of the
    /// shortest tier, and how loud the objective fires as a whole.
    Measured { burn: f64, over: bool, firing: Option<Severity> },
    /// Not measured, or too few events to say.
    Unknown,
}

/// How a cell looks; a later one is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shade {
    Unknown,
    Fine,
    Rising,
    Ticket,
    Page,
}

impl Shade {
    const fn look(self) -> (&'static str, Option<Icon>) {
        match self {
            Shade::Unknown => ("h-unknown", None),
            Shade::Fine => ("h-ok", None),
            Shade::Rising => ("h-ticket", Some(Icon::Rising)),
            Shade::Ticket => ("h-ticket", Some(Icon::Ticket)),
            Shade::Page => ("h-page", Some(Icon::Page)),
        }
    }
}

/// How an objective stands in one cell: its look, and its burn where that is known.
fn shade(known: &HeatCell) -> (Shade, Option<f64>) {
    match known {
        HeatCell::Unknown => (Shade::Unknown, None),
        HeatCell::Measured { burn, over, firing } => {
            let shade = match (over, firing) {
                (false, _) => Shade::Fine,
                (true, Some(Severity::Page)) => Shade::Page,
                (true, Some(Severity::Ticket | Severity::Info)) => Shade::Ticket,
                // Over the limit here, and not as a whole.
                (true, None) => Shade::Rising,
            };
            (shade, Some(*burn))
        }
        HeatCell::Group(status) => {
            let burn = status.tiers.iter().min_by_key(|tier| tier.long).and_then(|tier| tier.burn_long);
            let shade = match (status.state, status.severity, burn) {
                (AlertPhase::Firing, Some(Severity::Page), _) => Shade::Page,
                (AlertPhase::Firing, _, _) => Shade::Ticket,
                (AlertPhase::Unknown, _, _) | (_, _, None) => Shade::Unknown,
                (AlertPhase::Pending, _, _) => Shade::Rising,
                (AlertPhase::Ok, _, Some(_)) => Shade::Fine,
            };
            (shade, burn)
        }
    }
}

fn href(slo: &Slo, known: &HeatCell) -> String {
    match known {
        HeatCell::Group(status) => format!("{}{}", slo_path(slo), group_query(&status.group)),
        HeatCell::Measured { .. } | HeatCell::Unknown => slo_path(slo),
    }
}

/// Burn by objective and value: the body of a card, or nothing without rows.
pub fn objectives(rows: &[HeatRow<'_>], dimension: &str) -> Markup {
    let cell = |slo: &Slo, value: &str, known: &HeatCell| {
        let (shade, burn) = shade(known);
        let limits: Vec<f64> = slo.tiers.iter().map(|tier| tier.factor.to_f64()).collect();
        drawn(value, shade, burn.map(|burn| number::burn(Some(burn), &limits)), &href(slo, known))
    };
    let named = rows.iter().map(|(slo, cells)| {
        let name = html! { (Plain(&clip(&slo.name, 40))) };
        (name, cells.iter().map(|(value, known)| cell(slo, value, known)).collect())
    });
    table(&format!("burn by {}", clip(dimension, 40)), &columns(rows), named)
}

/// Share of failures by service and value. Of the objectives of a service that count failures, the worst speaks in
/// each cell; slow answers are no errors.
pub fn services(rows: &[HeatRow<'_>], dimension: &str) -> Option<Markup> {
    let columns = columns(rows);
    let mut services: Vec<&str> = rows.iter().filter(|(slo, _)| counts_failures(slo)).map(|(slo, _)| slo.service.as_str()).collect();
    services.sort_unstable();
    services.dedup();
    if services.is_empty() {
        return None;
    }
    let cell = |service: &str, n: usize| {
        let of = rows.iter().filter(|(slo, _)| slo.service == service && counts_failures(slo));
        let worst = of.map(|(slo, cells)| (*slo, &cells[n].1)).max_by(|a, b| {
            let ((shade_a, burn_a), (shade_b, burn_b)) = (shade(a.1), shade(b.1));
            shade_a.cmp(&shade_b).then_with(|| burn_a.unwrap_or(-1.0).total_cmp(&burn_b.unwrap_or(-1.0)))
        });
        let (slo, known) = worst.expect("a service is one of an objective");
        let (shade, burn) = shade(known);
        drawn(&columns[n], shade, burn.map(|burn| number::share(burn * f64::from(slo.budget_ppm) / 1e6)), &href(slo, known))
    };
    let named = services.iter().map(|service| {
        let name = if service.is_empty() {
            html! { span.muted { "(no service)" } }
        } else {
            html! { (Plain(&clip(service, 40))) }
        };
        (name, (0..columns.len()).map(|n| cell(service, n)).collect())
    });
    Some(table(&format!("failing by {}", clip(dimension, 40)), &columns, named))
}

/// Steps of a funnel that are not taken, slow answers and slices of time are bad, and no errors.
fn counts_failures(slo: &Slo) -> bool {
    match slo.sli {
        Sli::Good(_) => true,
        Sli::Within { .. } | Sli::Ratio { .. } | Sli::Slices { .. } | Sli::Composite { .. } | Sli::External { .. } => false,
    }
}

/// Another one when rows or columns come, go or move; nothing while history is being read.
pub fn shape_of(rows: &[HeatRow<'_>], read: bool) -> String {
    let names = rows.iter().map(|(slo, _)| slo.name.as_str());
    let values = rows.first().into_iter().flat_map(|(_, cells)| cells.iter().map(|(value, _)| value.as_str()));
    if read { shape(names.chain(values)) } else { String::new() }
}

fn columns(rows: &[HeatRow<'_>]) -> Vec<String> {
    rows.first().map(|(_, cells)| cells.iter().map(|(value, _)| value.clone()).collect()).unwrap_or_default()
}

fn table(corner: &str, columns: &[String], rows: impl Iterator<Item = (Markup, Vec<Markup>)>) -> Markup {
    html! {
        table.heat {
            thead { tr { th scope="col" { (corner) } @for value in columns { th scope="col" { (Plain(&clip(value, 24))) } } } }
            tbody { @for (name, cells) in rows { tr { th.small scope="row" { (name) } @for cell in cells { (cell) } } } }
        }
    }
}

fn drawn(value: &str, shade: Shade, text: Option<String>, href: &str) -> Markup {
    let (class, icon) = shade.look();
    html! {
        td class=(class) {
            a href=(href) {
                span.reg { (Plain(&clip(value, 24))) }
                span {
                    @if let Some(icon) = icon { (icon.svg()) " " }
                    @match text { Some(text) => (text), None => { "?" span.vh { " not measured" } } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rule::Labels;
    use crate::web::fixture::{self, HOSTILE, assert_inert};

    fn group(region: &str, state: AlertPhase, severity: Option<Severity>, burn: Option<f64>) -> (String, HeatCell) {
        let mut status =
            SloStatus { group: Labels::from([("region".to_owned(), region.to_owned())]), state, severity, ..fixture::status() };
        for tier in &mut status.tiers {
            tier.burn_long = burn;
        }
        (region.to_owned(), HeatCell::Group(Arc::new(status)))
    }

    fn cells() -> Vec<(String, HeatCell)> {
        vec![
            group("eu-west", AlertPhase::Firing, Some(Severity::Page), Some(127.0)),
            group("us-east", AlertPhase::Ok, None, Some(0.4)),
            group("ap-south", AlertPhase::Firing, Some(Severity::Ticket), Some(6.4)),
            group("sa-east", AlertPhase::Unknown, None, None),
            ("eu-north".to_owned(), HeatCell::Unknown),
            ("us-west".to_owned(), HeatCell::Measured { burn: 20.0, over: true, firing: None }),
        ]
    }

    /// The cell of a region: its class and what it says.
    fn said(text: &str, region: &str) -> (String, String) {
        let at = text.find(&format!("<span class=\"reg\">{region}</span>")).expect("the region has a cell");
        let (_, class) = text[..at].rsplit_once("<td class=\"").expect("a cell");
        let words = text[at..].split("</td>").next().expect("it ends");
        (class.split('"').next().expect("it ends").to_owned(), words.to_owned())
    }

    #[test]
    fn every_state_has_its_look_and_a_link_to_its_group() {
        let slo = fixture::slo();
        let text = objectives(&[(&slo, cells())], "region").into_string();
        for (region, class, words, shape) in [
            ("eu-west", "h-page", "127×", true),
            ("us-east", "h-ok", "0.4×", false),
            ("ap-south", "h-ticket", "6.4×", true),
            ("sa-east", "h-unknown", "not measured", false),
            ("eu-north", "h-unknown", "not measured", false),
            ("us-west", "h-ticket", "20×", true),
        ] {
            let (have, said) = said(&text, region);
            assert_eq!(have, class, "{region}");
            assert!(said.contains(words) && said.contains("<svg") == shape, "{region}: {said}");
        }
        assert!(text.contains("href=\"/slos/checkout-api?region=eu-west\""), "{text}");
        assert_eq!(text.matches("scope=\"col\"").count(), 7);
        assert!(!text.contains(">0×<"), "what was not measured is not zero: {text}");
    }

    #[test]
    fn the_worst_objective_speaks_for_its_service_and_slow_is_no_error() {
        let (slo, mut calm, mut slow) = (fixture::slo(), fixture::slo(), fixture::slo());
        calm.name = "page-load".into();
        slow.name = "checkout-lcp".into();
        slow.sli = Sli::Within {
            metric: crate::domain::metric::Metric::Vital(crate::domain::metric::Vital::Lcp),
            filter: Default::default(),
            limit: crate::domain::cell::Limit { value: 2_500.0, inclusive: true },
        };
        let quiet: Vec<(String, HeatCell)> =
            cells().into_iter().map(|(value, _)| (value, HeatCell::Measured { burn: 0.2, over: false, firing: None })).collect();
        let loud: Vec<(String, HeatCell)> = cells()
            .into_iter()
            .map(|(value, _)| (value, HeatCell::Measured { burn: 900.0, over: true, firing: Some(Severity::Page) }))
            .collect();
        let text = services(&[(&calm, quiet), (&slo, cells()), (&slow, loud)], "region").expect("a table").into_string();
        assert_eq!(text.matches("scope=\"row\"").count(), 1, "one service, one row");
        // A budget of 0.1 %, burnt at 127×.
        assert_eq!(said(&text, "eu-west").0, "h-page");
        assert!(said(&text, "eu-west").1.contains("12.7 %") && said(&text, "us-east").1.contains("0.04 %"), "{text}");
        // Where one of them was not measured, the other one speaks.
        assert_eq!(said(&text, "sa-east").0, "h-ok");
        assert!(!text.contains("90 %"), "{text}");
        assert!(services(&[], "region").is_none());
    }

    #[test]
    fn hostile_values_are_inert_in_cells() {
        let mut slo = fixture::slo();
        slo.name = HOSTILE.into();
        slo.service = HOSTILE.into();
        let cells = || vec![group(HOSTILE, AlertPhase::Ok, None, Some(1.0)), (HOSTILE.to_owned(), HeatCell::Unknown)];
        assert_inert(&objectives(&[(&slo, cells())], HOSTILE).into_string());
        assert_inert(&services(&[(&slo, cells())], HOSTILE).expect("a table").into_string());
    }
}
