//! What the last releases did: before and after, beyond chance.

use maud::{Markup, html};

use super::{Overview, SIGMAS};
use crate::web::icon::{Icon, Tone, flag, flag_with};
use crate::web::number;
use crate::web::pages::change_words;
use crate::web::pages::evidence::Release;
use crate::web::pages::incident::path;

/// The card of the latest releases.
pub fn releases(model: &Overview<'_>) -> Markup {
    html! {
        section.card aria-labelledby="h-c" {
            header { h2 id="h-c" { "Latest releases" } a.small href="/changes" { "all changes" } }
            @match &model.evidence {
                None => p.empty { "Being read from stored history; they appear here by themselves." },
                Some(evidence) if evidence.releases.is_empty() => p.empty { "None was reported in the last week: " code { "burnwatch annotate deploy" } "." },
                Some(evidence) => ul."plain"."releases" { @for release in &evidence.releases { li { (one_release(model, release)) } } },
            }
        }
    }
}

fn one_release(model: &Overview<'_>, release: &Release) -> Markup {
    let change = &release.change;
    let suspect = model.incidents.iter().find(|row| !change.id.is_empty() && row.suspect.as_ref() == Some(&change.id));
    let known = release.compared.iter().filter_map(|one| Some((one, one.sigmas()?)));
    let most = known.max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()));
    html! {
        span.line {
            b { (change_words(change)) }
            span."small"."muted"."nowrap" { (number::time(change.at, model.now)) @if let Some(share) = release.traffic { " · " (number::share(share)) " of traffic" } }
        }
        span.line.small {
            span {
                @if let Some(row) = suspect { (flag(Tone::from(row.severity), "Suspect")) " of " a href=(path(&row.id)) { "the open incident" } ": " }
                @else { @match most {
                    None => { (flag(Tone::Unknown, "Too few events")) " to compare" }
                    Some((_, sigmas)) if sigmas >= SIGMAS => { (flag_with(Tone::Ticket, Icon::Rising, "Worse")) " " }
                    Some((_, sigmas)) if sigmas <= -SIGMAS => { (flag(Tone::Fine, "Better")) " " }
                    Some(_) => { (flag(Tone::Fine, "No change seen")) " " }
                } }
                @if let Some((one, _)) = most { (one.what) " " (ratio(one.before)) " → " b { (ratio(one.after)) } }
            }
        }
    }
}

fn ratio((bad, total): (f64, f64)) -> String {
    number::share(bad / total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixture;
    use crate::web::pages::evidence::{Compared, Evidence};
    use crate::web::pages::oncall::Row;
    use crate::web::pages::overview::tests::{compared, model};

    fn release(compared: Vec<Compared>) -> Release {
        Release { change: fixture::incident().changes.remove(0), traffic: Some(0.12), compared }
    }

    fn said(compared: Vec<Compared>) -> String {
        one_release(&model(vec![], Evidence::default()), &release(compared)).into_string()
    }

    #[test]
    fn a_release_is_called_worse_only_beyond_chance() {
        assert!(said(vec![compared((4.0, 10_000.0), (95.0, 1_000.0))]).contains("Worse"));
        assert!(said(vec![compared((95.0, 1_000.0), (4.0, 10_000.0))]).contains("Better"));
        assert!(said(vec![compared((4.0, 10_000.0), (1.0, 1_000.0))]).contains("No change seen"));
        assert!(said(vec![compared((0.0, 10_000.0), (0.0, 1_000.0))]).contains("0 %"), "no failure at all is no error");
        let few = said(vec![compared((4.0, 10_000.0), (3.0, 9.0))]);
        assert!(few.contains("Too few events") && !few.contains("→"), "{few}");
        // What moved most is what is told.
        let both =
            said(vec![compared((4.0, 10_000.0), (1.0, 1_000.0)), Compared { what: "crashes", ..compared((1.0, 900.0), (90.0, 900.0)) }]);
        assert!(both.contains("crashes 0.11 % → <b>10 %</b>"), "{both}");
    }

    #[test]
    fn a_release_that_an_open_incident_suspects_says_so() {
        let mut overview = model(vec![], Evidence::default());
        let release = release(vec![compared((4.0, 10_000.0), (95.0, 1_000.0))]);
        overview.incidents = vec![Row { suspect: Some(release.change.id.clone()), ..fixture::row() }];
        let text = one_release(&overview, &release).into_string();
        assert!(text.contains("Suspect") && !text.contains("Worse"), "{text}");
    }
}
