//! How far people get, against what is usual at this hour of the week.

use maud::{Markup, html};

use super::{SIGMAS, plural};
use crate::web::icon::{Icon, Tone, flag_with};
use crate::web::number;
use crate::web::pages::evidence::{Evidence, Funnel, Step, being_read};
use crate::web::text::{Plain, clip};

/// Steps of one funnel.
const STEPS_MAX: usize = 8;

/// The cards of the funnels.
pub fn funnels(evidence: Option<&Evidence>) -> Markup {
    let Some(evidence) = evidence else { return being_read("h-f0", "How far people get") };
    html! {
        @for (i, funnel) in evidence.funnels.iter().enumerate() { (steps(funnel, i)) }
    }
}

fn steps(funnel: &Funnel, i: usize) -> Markup {
    let Some(first) = funnel.steps.first().filter(|first| first.count > 0.0) else { return html! {} };
    let usual = |step: &Step| (funnel.weeks > 0 && first.usual > 0.0).then(|| step.usual / first.usual);
    html! {
        section.card aria-labelledby={ "h-f" (i) } {
            header {
                h2 id={ "h-f" (i) } { "How far people get: " (Plain(&clip(&funnel.name, 40))) }
                span."small"."muted" { (Plain(&clip(&funnel.app, 40))) ", last hour: " (number::count(first.count)) " " (Plain(&clip(&first.name, 40))) }
            }
            table.funnel {
                thead.vh { tr { th scope="col" { "step" } th scope="col" { "share" } th scope="col" { "reached" } } }
                tbody { @for step in funnel.steps.iter().take(STEPS_MAX) {
                    @let share = step.count / first.count;
                    @let usual = usual(step);
                    @let moved = usual.map_or(0.0, |usual| moved(usual, share, first.count));
                    tr {
                        th scope="row" { (Plain(&clip(&step.name, 40))) }
                        td.b { (bar(share, usual, moved <= -SIGMAS)) }
                        td.num {
                            b { (number::share(share)) }
                            " " span."small"."muted" { @match usual { Some(usual) => { "usual " (number::share(usual)) } None => "usual not known" } }
                            @if moved <= -SIGMAS { " " (flag_with(Tone::Ticket, Icon::Falling, "fewer")) }
                            @if moved >= SIGMAS { " " (flag_with(Tone::Info, Icon::Rising, "more")) }
                        }
                    }
                } }
            }
            p."small"."muted" {
                "Share of those at the first step."
                @if funnel.weeks > 0 { " The line is what is usual at this hour of the week, out of " (plural(funnel.weeks, "week")) "." }
            }
        }
    }
}

/// How far a share is from the usual one, in standard errors; a difference under a twentieth is none.
fn moved(usual: f64, share: f64, events: f64) -> f64 {
    let error = (usual * (1.0 - usual) / events.max(1.0)).sqrt();
    if error <= 0.0 || (share - usual).abs() < usual * 0.05 { 0.0 } else { (share - usual) / error }
}

fn bar(share: f64, usual: Option<f64>, fewer: bool) -> Markup {
    let width = |share: f64| format!("{:.1}%", (share * 100.0).clamp(0.3, 99.4));
    html! {
        svg.pair aria-hidden="true" {
            rect class=(if fewer { "few" } else { "base-bar" }) y="6" width=(width(share)) height="14" rx="1" {}
            @if let Some(usual) = usual { line.limit x1=(width(usual)) x2=(width(usual)) y1="2" y2="24" {} }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_fewer_reach_than_usual_is_marked() {
        let step = |name: &str, count, usual| Step { name: name.into(), count, usual };
        let funnel = |paid| Funnel {
            app: "shop".into(),
            name: "checkout".into(),
            steps: vec![step("cart", 1_000.0, 4_000.0), step("paid", paid, 1_600.0)],
            weeks: 4,
        };
        let text = steps(&funnel(250.0), 0).into_string();
        assert!(text.contains("25 %") && text.contains("usual 40 %") && text.contains("fewer"), "{text}");
        assert!(!steps(&funnel(395.0), 0).into_string().contains("fewer"));
        let new = Funnel { weeks: 0, ..funnel(250.0) };
        let text = steps(&new, 0).into_string();
        assert!(text.contains("usual not known") && !text.contains("fewer"), "{text}");
    }
}
