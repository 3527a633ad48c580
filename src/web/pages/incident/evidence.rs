//! What the answers rest on: chart, segments, tiers.

use maud::{Markup, html};

use super::{Drawing, Model, Range};
use crate::domain::notification::Verdict;
use crate::web::chart::{bullet, draw};
use crate::web::icon::{Tone, flag};
use crate::web::number;
use crate::web::pages::incident::answers::segment_words;
use crate::web::text::{Plain, clip};

pub(super) fn chart(model: &Model<'_>, path: &str) -> Markup {
    html! {
        section.card aria-labelledby="h-chart" {
            header {
                h2 id="h-chart" { "What it looks like" }
                span.small {
                    @for (i, range) in Range::ALL.into_iter().enumerate() {
                        @if i > 0 { " · " }
                        a href={ (path) "?range=" (range.name()) } aria-current=[(range == model.range).then_some("true")] {
                            @if range == model.range { b { (number::window(range.span())) } } @else { (number::window(range.span())) }
                        }
                    }
                }
            }
            div data-live="chart" {
                @match &model.drawing {
                    Drawing::Chart(chart) => (draw::burn(chart, model.now)),
                    Drawing::None => { p.empty { "Its rules are free-form: there is no objective to draw. The alerts below say what they saw." } }
                    Drawing::Failed(why) => { p.empty { (flag(Tone::Ticket, "Not drawn")) " " (Plain(&clip(why, 200))) ". Everything else on this page is as it should be." } }
                }
            }
        }
    }
}

pub(super) fn segments(model: &Model<'_>, path: &str) -> Markup {
    let explained = &model.incident.explained;
    let mut suspects: Vec<_> = explained.suspects.iter().collect();
    suspects.sort_by(|a, b| (b.bad_share - b.traffic_share).total_cmp(&(a.bad_share - a.traffic_share)));
    html! {
        section.card aria-labelledby="h-sus" {
            header {
                h2 id="h-sus" { "What the failures have in common" }
                span."small"."muted" { "share of failures against share of traffic, since " (number::time(model.incident.window_start, model.now)) }
            }
            @if !explained.sentence.is_empty() { p { (Plain(&clip(&explained.sentence, 400))) } }
            @if let Some(share) = explained.top_source {
                p { "The one network that reports most of it sent " (format!("{:.0} %", share * 100.0)) " of the failures of this hour." }
            }
            @if suspects.is_empty() {
                p.empty {
                    @match explained.verdict {
                        Verdict::Global => "The failures are spread like the traffic: nothing stands out.",
                        Verdict::Segment | Verdict::Unknown if explained.reason.is_empty() => "Nothing is known yet; it is looked at again with each evaluation.",
                        Verdict::Segment | Verdict::Unknown => (Plain(&clip(&explained.reason, 300))),
                    }
                }
            } @else {
                table.suspects {
                    thead { tr { th scope="col" { "segment" } th scope="col" { "failures over traffic" } th.num scope="col" { "shares" } } }
                    tbody {
                        @for suspect in suspects.iter().take(12) {
                            @let lead = suspect.bad_share > suspect.traffic_share * 1.2;
                            tr class=[(!lead).then_some("clear")] {
                                th scope="row" { (segment_words(suspect)) @if suspect.new { " " span."small"."muted" { "new" } } }
                                td.b { (bullet::pair(suspect.bad_share, suspect.traffic_share)) }
                                td.num {
                                    b { (number::share(suspect.bad_share)) } span.muted { " of failures, " } (number::share(suspect.traffic_share)) span.muted { " of traffic" }
                                    br;
                                    span."small"."muted" {
                                        @if lead { (number::share(suspect.excess_share.min(1.0))) " of the excess, " (number::users(suspect.users)) }
                                        @else { "as usual: not a lead" }
                                    }
                                }
                            }
                        }
                    }
                }
            }
            p.small { a href={ (path) "/segments" } { "every value of every dimension" } " · " a href={ "/v1" (path) } { "as JSON" } }
        }
    }
}

pub(super) fn tiers(model: &Model<'_>) -> Markup {
    let Some((_, Some(status))) = model.slo else { return html! {} };
    html! {
        section.card aria-labelledby="h-tier" {
            header {
                h2 id="h-tier" { "Burn against each tier" }
                span."small"."muted" { "bar: long window · ○ short window · | limit; both must pass it (log scale)" }
            }
            div data-live="tiers" { (tier_table(status)) }
        }
    }
}

/// A row per tier; also used by the SLO's own page.
pub fn tier_table(status: &crate::domain::snapshot::SloStatus) -> Markup {
    html! {
        table.tiers {
            thead { tr { th scope="col" { "tier" } th scope="col" { "burn" } th.num scope="col" { "state" } } }
            tbody {
                @for tier in &status.tiers {
                    @let factor = tier.factor.to_f64();
                    tr {
                        th scope="row" {
                            (flag(Tone::from(tier.severity), &format!("{} {}", tier.severity.name(), number::factor(factor))))
                            br; span."small"."muted" { (number::window(tier.long)) " and " (number::window(tier.short)) }
                        }
                        td.b { (bullet::tier(tier)) }
                        td.num {
                            (bullet::tier_state(tier))
                            br;
                            span."small"."muted" {
                                @if let Some(guard) = &tier.held_back { (Plain(&clip(guard, 80))) }
                                @else { (number::burn(tier.burn_long, &[factor])) " and " (number::burn(tier.burn_short, &[factor])) }
                            }
                        }
                    }
                }
            }
        }
    }
}
