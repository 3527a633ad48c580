//! Silences that somebody should look at again: one that hides nothing, and one that ends while what it hides fires.

use super::desk::Silence;
use super::incident::Member;
use super::time::{Span, Timestamp};

/// A silence that has hidden nothing for this long may be forgotten.
pub const FORGOTTEN_AFTER: Span = Span::DAY;
/// A silence that ends this soon while something fires behind it is worth a word.
pub const ENDS_SOON: Span = Span::HOUR;

/// What the author of a silence in force should be reminded of. `alerts` are those that fire, and those that ended
/// within [`FORGOTTEN_AFTER`].
pub fn reminder(silence: &Silence, author: &str, alerts: &[Member], now: Timestamp) -> Option<String> {
    let hidden: Vec<&Member> = alerts.iter().filter(|member| silence.mutes(&member.full_labels(), now)).collect();
    let author = if author.is_empty() { "its author" } else { author };
    match hidden.iter().filter(|member| member.firing).count() {
        0 if hidden.is_empty() && now - silence.starts >= FORGOTTEN_AFTER => {
            Some(format!("it has hidden nothing for {FORGOTTEN_AFTER}: {author} may have forgotten it"))
        }
        0 => None,
        firing if silence.ends - now <= ENDS_SOON => {
            let (noun, verb) = if firing == 1 { ("alert", "fires") } else { ("alerts", "fire") };
            Some(format!("it ends at {} while {firing} {noun} that it hides still {verb}: {author} may prolong it", silence.ends))
        }
        _ => None,
    }
}
