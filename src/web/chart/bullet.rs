//! Bullets for tiers, pairs of bars for segments, and the bar of a budget.

use maud::{Markup, html};

use crate::domain::rule::Severity;
use crate::domain::snapshot::{TierStatus, TierVerdict};
use crate::web::icon::{Icon, Tone, flag, flag_with};
use crate::web::number;

/// Where a burn stands on the one log scale of all bullets, 0.1× to 200×, in per cent.
pub fn log_percent(burn: f64) -> f64 {
    ((burn.max(0.1) / 0.1).ln() / 2_000_f64.ln() * 100.0).clamp(0.0, 100.0)
}

fn percent(value: f64) -> String {
    format!("{value:.1}%")
}

/// Bar: long window; ring: short window; upright line: limit.
pub fn tier(status: &TierStatus) -> Markup {
    let factor = status.factor.to_f64();
    let over = match status.severity {
        Severity::Page => "over",
        Severity::Ticket => "over-t",
        Severity::Info => "over-i",
    };
    let label = format!(
        "burn {} over the long window, {} over the short window, limit {}",
        number::burn(status.burn_long, &[factor]),
        number::burn(status.burn_short, &[factor]),
        number::factor(factor)
    );
    html! {
        svg.bullet role="img" aria-label=(label) {
            rect.track y="5" width="100%" height="16" rx="2" {}
            @if let Some(burn) = status.burn_long {
                rect class=(if status.long_over { over } else { "under" }) y="8" height="10" width=(percent(log_percent(burn))) {}
            }
            line.limit x1=(percent(log_percent(factor))) x2=(percent(log_percent(factor))) y1="1" y2="25" {}
            @if let Some(burn) = status.burn_short {
                circle.ring cx=(percent(log_percent(burn))) cy="13" r="5" {}
            }
        }
    }
}

/// A tier's state in the words of the design: what the verdict said, never what a rounding says.
pub fn tier_state(status: &TierStatus) -> Markup {
    if status.held_back.is_some() {
        return flag(Tone::Unknown, "Held back");
    }
    match (status.verdict, status.long_over, status.short_over) {
        (TierVerdict::Unknown, _, _) => flag(Tone::Unknown, "Unknown"),
        (TierVerdict::Holds, _, _) => flag(Tone::from(status.severity), "Critical"),
        (TierVerdict::Clear, true, true) => flag(Tone::Unknown, "Held back"),
        (TierVerdict::Clear, false, true) => flag_with(Tone::Ticket, Icon::Rising, "Increasing"),
        (TierVerdict::Clear, true, false) => flag_with(Tone::Info, Icon::Falling, "Recovering"),
        (TierVerdict::Clear, false, false) => flag(Tone::Fine, "Acceptable"),
    }
}

/// Share of failures (filled) over share of traffic (outline).
pub fn pair(bad: f64, traffic: f64) -> Markup {
    let width = |share: f64| percent((share * 100.0).clamp(0.0, 99.4));
    html! {
        svg.pair role="img" aria-label=(format!("{} of failures, {} of traffic", number::share(bad), number::share(traffic))) {
            line.base x1="0" x2="100%" y1="25.5" y2="25.5" {}
            rect.bad y="3" width=(width(bad)) height="10" rx="1" {}
            rect.traffic x=".75" y="15.5" width=(width(traffic)) height="6.5" rx="1" {}
        }
    }
}

/// What is left of a budget; outline: all of it. The words beside it carry the number.
pub fn budget(remaining: Option<f64>) -> Markup {
    html! {
        svg.budget aria-hidden="true" {
            rect.track x=".5" y="2.5" width="99%" height="11" rx="2" {}
            @match remaining {
                None => {}
                Some(left) if left <= 0.0 => { rect.gone x="0" y="2" width="4" height="12" {} }
                Some(left) => { rect class=(if left < 0.2 { "low" } else { "left" }) x="0" y="2" width=(percent((left * 100.0).clamp(0.5, 99.4))) height="12" rx="2" {} }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fraction::Fraction;
    use crate::domain::rule::Op;
    use crate::domain::snapshot::AlertPhase;
    use crate::domain::time::Span;

    fn status(long: f64, short: f64, verdict: TierVerdict, over: (bool, bool)) -> TierStatus {
        TierStatus {
            severity: Severity::Page,
            long: Span::hours(6),
            short: Span::minutes(30),
            factor: Fraction::whole(6),
            op: Op::Above,
            burn_long: Some(long),
            burn_short: Some(short),
            long_over: over.0,
            short_over: over.1,
            verdict,
            held_back: None,
            phase: AlertPhase::Ok,
            since: None,
        }
    }

    #[test]
    fn a_burn_that_passes_one_window_only_is_not_shown_as_firing() {
        let text = |s: &TierStatus| tier_state(s).into_string();
        let increasing = status(5.98, 67.0, TierVerdict::Clear, (false, true));
        assert!(text(&increasing).contains("Increasing"));
        assert!(tier(&increasing).into_string().contains("class=\"under\""));
        assert!(text(&status(8.0, 2.0, TierVerdict::Clear, (true, false))).contains("Recovering"));
        assert!(text(&status(8.0, 8.0, TierVerdict::Holds, (true, true))).contains("Critical"));
        assert!(text(&status(1.0, 1.0, TierVerdict::Clear, (false, false))).contains("Acceptable"));
        assert!(text(&status(8.0, 8.0, TierVerdict::Unknown, (true, true))).contains("Unknown"));
        let held = TierStatus { held_back: Some("min_events".into()), ..status(8.0, 8.0, TierVerdict::Clear, (true, true)) };
        assert!(text(&held).contains("Held back"));
    }

    #[test]
    fn the_scale_is_logarithmic_and_bounded() {
        assert_eq!(log_percent(0.0), 0.0);
        assert_eq!(log_percent(0.1), 0.0);
        assert_eq!(log_percent(200.0), 100.0);
        assert_eq!(log_percent(1e9), 100.0);
        assert!((log_percent(14.4) - 65.4).abs() < 0.1);
    }
}
