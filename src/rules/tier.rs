//! Burn-rate tiers: `page(#{…})`, `ticket(#{…})`, `info(#{…})` and the presets of SEMANTICS 3.
//!
//! A tier is read where it is written; its factor and its windows are checked against the SLO that
//! it stands in, because only that knows the period and the budget.

use rhai::{Dynamic, Engine};

use super::draft::{Call, Draft, Shared, register};
use super::value::{Broken, Value};
use crate::domain::fraction::Fraction;
use crate::domain::rule::{Op, Place, Severity, Sli, Slo, Tier};
use crate::domain::time::Span;

/// A tier as it was written, not yet held against an SLO.
#[derive(Clone, Debug)]
pub(super) struct TierValue {
    place: Place,
    severity: Severity,
    long: Option<(Span, Place)>,
    short: Option<(Span, Place)>,
    strength: Option<(Strength, Place)>,
    op: Op,
    pending: Span,
    keep_firing: Span,
}

/// How hard the budget must burn.
#[derive(Clone, Copy, Debug)]
enum Strength {
    Factor(Fraction),
    /// Share of the period's budget that is spent within the long window.
    Budget(Fraction),
}

/// A named list of tiers.
#[derive(Clone, Debug)]
pub(super) struct Preset {
    place: Place,
    tiers: Vec<TierValue>,
}

const FIELDS: [&str; 7] = ["long", "short", "factor", "budget", "op", "pending", "keep_firing"];

/// Registers the tier constructors.
pub(super) fn add(engine: &mut Engine, draft: &Shared) {
    register(engine, draft, "page", &[1], |draft, call| tier(draft, call, Severity::Page));
    register(engine, draft, "ticket", &[1], |draft, call| tier(draft, call, Severity::Ticket));
    register(engine, draft, "info", &[1], |draft, call| tier(draft, call, Severity::Info));
    register(engine, draft, "burn_rate", &[0, 1], burn_rate);
}

fn tier(draft: &mut Draft, mut call: Call, severity: Severity) -> Dynamic {
    let value = call.arg(0, &format!("`{severity}`"));
    let Some(mut fields) = value.fields(&mut draft.problems, &FIELDS) else { return Dynamic::from(Broken) };
    fields.at = call.at.clone();
    let problems = &mut draft.problems;
    let long = fields.need("long", problems).and_then(|value| value.length(problems).map(|span| (span, value.at)));
    let short = fields.take("short").and_then(|value| value.length(problems).map(|span| (span, value.at)));
    let (factor, budget) = (fields.take("factor"), fields.take("budget"));
    let strength = match (factor, budget) {
        (Some(_), Some(budget)) => {
            problems.error(&budget.at, "`factor` and `budget` say the same thing; write one of them");
            None
        }
        (Some(factor), None) => factor.exact(problems).map(|exact| (Strength::Factor(exact), factor.at)),
        (None, Some(budget)) => share(&budget, draft),
        (None, None) => {
            // `need` knows whether a mistyped key meant one of the two.
            fields.need("factor", problems);
            None
        }
    };
    let problems = &mut draft.problems;
    let op = fields.take("op").and_then(|value| value.choice(problems, &[(">", Op::Above), (">=", Op::AtLeast)])).unwrap_or_default();
    let pending = fields.span("pending", problems).unwrap_or_default();
    let keep_firing = fields.span("keep_firing", problems).unwrap_or_default();
    Dynamic::from(TierValue { place: call.at, severity, long, short, strength, op, pending, keep_firing })
}

fn share(value: &Value, draft: &mut Draft) -> Option<(Strength, Place)> {
    let share = value.exact(&mut draft.problems)?;
    if share >= Fraction::whole(1) {
        draft
            .problems
            .error(&value.at, format!("`budget` is a fraction of the whole budget, and {share} is all of it or more; 0.02 means 2 %"));
        return None;
    }
    Some((Strength::Budget(share), value.at.clone()))
}

/// The presets of SEMANTICS 3.
fn burn_rate(draft: &mut Draft, mut call: Call) -> Dynamic {
    let place = call.at.clone();
    let preset = |severity, share: i128, long: Span, short: Span| TierValue {
        place: place.clone(),
        severity,
        long: Some((long, place.clone())),
        short: Some((short, place.clone())),
        strength: Fraction::new(share, 100).map(|share| (Strength::Budget(share), place.clone())),
        op: Op::Above,
        pending: Span::ZERO,
        keep_firing: Span::ZERO,
    };
    let fast = [preset(Severity::Page, 2, Span::HOUR, Span::minutes(5)), preset(Severity::Page, 5, Span::hours(6), Span::minutes(30))];
    let slow = [preset(Severity::Ticket, 10, Span::hours(24), Span::hours(2)), preset(Severity::Ticket, 10, Span::days(3), Span::hours(6))];
    let tiers = if call.has(0) {
        let name = call.arg(0, "the name of the tiers");
        if name.it.clone().into_string().is_ok_and(|name| name != "3x15m") {
            let message = "there is only burn_rate(\"3x15m\"), and burn_rate() without a name for the workbook's four tiers";
            draft.problems.error(&name.at, message);
            return Dynamic::from(Broken);
        }
        if name.choice(&mut draft.problems, &[("3x15m", ())]).is_none() {
            return Dynamic::from(Broken);
        }
        let five = Span::minutes(5);
        let three = TierValue {
            strength: Some((Strength::Factor(Fraction::whole(3)), place.clone())),
            pending: Span::minutes(15),
            ..preset(Severity::Page, 1, five, five)
        };
        std::iter::once(three).chain(slow).collect()
    } else {
        fast.into_iter().chain(slow).collect()
    };
    Dynamic::from(Preset { place, tiers })
}

/// What a tier's numbers are held against.
struct Frame {
    /// Nominal length of the SLO's window.
    period: Span,
    budget_ppm: u32,
    /// Windows consist of these: the buckets, or the slices of a time-slice SLI.
    step: Span,
    steps: &'static str,
}

/// Reads the `alert` of an SLO: a tier, a preset, or a list of them.
///
/// Needs the budget and the window of the SLO; where one of them could not be read, tiers are only checked for their kind.
pub(super) fn read(draft: &mut Draft, value: &Value, slo: &Slo, known: bool) -> Vec<Tier> {
    let (step, steps) = match &slo.sli {
        Sli::Slices { slice, .. } => (*slice, "slices"),
        _ => (draft.bucket, "buckets"),
    };
    let frame = Frame { period: slo.window.nominal(), budget_ppm: slo.budget_ppm, step, steps };
    let mut tiers = Vec::new();
    for item in value.items() {
        if let Some(tier) = item.it.clone().try_cast::<TierValue>() {
            if known {
                tiers.extend(written(draft, &tier, &frame));
            }
        } else if let Some(preset) = item.it.clone().try_cast::<Preset>() {
            if known {
                tiers.extend(scaled(draft, &preset, &frame));
            }
        } else if item.it.is_array() {
            tiers.extend(read(draft, &item, slo, known));
        } else {
            item.wrong(&mut draft.problems, "burn_rate(), page(#{…}), ticket(#{…}), info(#{…}) or a list of them");
        }
    }
    tiers
}

/// Why a tier can never hold or makes no sense; which of its fields is to blame.
struct Fault {
    at: Place,
    why: String,
}

/// A factor as people read it.
fn about(factor: Fraction) -> String {
    let exact = factor.to_string();
    if exact.contains('/') { format!("about {:.2}", factor.to_f64()) } else { exact }
}

fn settle(tier: &TierValue, frame: &Frame) -> Option<Result<Tier, Fault>> {
    let (long, long_at) = tier.long.clone()?;
    let (strength, strength_at) = tier.strength.clone()?;
    let fault = |at: &Place, why: String| Some(Err(Fault { at: at.clone(), why }));
    if long.0 % frame.step.0 != 0 {
        return fault(&long_at, format!("`long` must be whole {} of {}, not {long}", frame.steps, frame.step));
    }
    if long > frame.period {
        return fault(&long_at, format!("`long` is {long}, longer than the SLO's window of {}", frame.period));
    }
    let (short, short_at) = tier.short.clone().unwrap_or_else(|| {
        let steps = (long.0 / 12 / frame.step.0).max(1);
        (Span(steps * frame.step.0), long_at.clone())
    });
    if short.0 % frame.step.0 != 0 {
        return fault(&short_at, format!("`short` must be whole {} of {}, not {short}", frame.steps, frame.step));
    }
    if short > long {
        return fault(&short_at, format!("`short` is {short}, longer than `long`, which is {long}"));
    }
    let factor = match strength {
        Strength::Factor(factor) => Some(factor),
        Strength::Budget(share) => share.scale(i128::from(frame.period.0), i128::from(long.0)),
    };
    let Some(factor) = factor else {
        return fault(&strength_at, "the factor has more digits than can be kept exactly".into());
    };
    if factor <= Fraction::whole(0) {
        return fault(&strength_at, format!("the factor must be above 0, and {factor} is not"));
    }
    // All events bad burns 1/(1-T) times, which is the most there can be.
    let most = Fraction::new(1_000_000, i128::from(frame.budget_ppm))?;
    let never = match tier.op {
        Op::Above => factor >= most,
        Op::AtLeast => factor > most,
    };
    if never {
        let why = format!(
            "the tier can never hold: at this objective a total outage burns {}x, and it asks for {} {}x",
            about(most),
            op_name(tier.op),
            about(factor)
        );
        return fault(&strength_at, why);
    }
    Some(Ok(Tier {
        place: tier.place.clone(),
        severity: tier.severity,
        long,
        short,
        factor,
        op: tier.op,
        pending: tier.pending,
        keep_firing: tier.keep_firing,
    }))
}

const fn op_name(op: Op) -> &'static str {
    match op {
        Op::Above => "more than",
        Op::AtLeast => "at least",
    }
}

fn written(draft: &mut Draft, tier: &TierValue, frame: &Frame) -> Option<Tier> {
    match settle(tier, frame)? {
        Ok(tier) => Some(tier),
        Err(fault) => {
            draft.problems.error(&fault.at, fault.why);
            None
        }
    }
}

fn scaled(draft: &mut Draft, preset: &Preset, frame: &Frame) -> Vec<Tier> {
    let mut tiers = Vec::new();
    let mut left_out = Vec::new();
    for tier in &preset.tiers {
        match settle(tier, frame) {
            Some(Ok(tier)) => tiers.push(tier),
            Some(Err(fault)) => {
                let long = tier.long.as_ref().map_or(Span::ZERO, |(long, _)| *long);
                left_out.push(format!("its {} tier over {long}: {}", tier.severity, fault.why));
            }
            None => {}
        }
    }
    if tiers.is_empty() {
        let why = left_out.join("; ");
        draft.problems.error(
            &preset.place,
            format!("burn_rate has no tier that could ever hold for this objective and window ({why}); write tiers of your own"),
        );
        return tiers;
    }
    for tier in left_out {
        draft.problems.warning(&preset.place, format!("burn_rate leaves out {tier}"));
    }
    tiers
}

/// Warns of tiers that are equal, and of an outage that nobody would hear of in time.
pub(super) fn advise(draft: &mut Draft, slo: &Slo) {
    for (index, tier) in slo.tiers.iter().enumerate() {
        let same = |other: &&Tier| {
            (other.long, other.short, other.factor, other.op, other.pending) == (tier.long, tier.short, tier.factor, tier.op, tier.pending)
        };
        if slo.tiers[..index].iter().any(|other| same(&other)) {
            draft.problems.warning(&tier.place, format!("two tiers of `{}` are equal: over {}, {}x", slo.name, tier.long, tier.factor));
        }
    }
    let bucket = draft.bucket.0;
    let noticed = |tier: &Tier| {
        // Bad buckets needed out of n: k/n > B·b (or >=).
        let n = i128::from(tier.long.0 / bucket);
        let (num, den) = (n * tier.factor.num() * i128::from(slo.budget_ppm), tier.factor.den() * 1_000_000);
        let k = match tier.op {
            Op::Above => num / den + 1,
            Op::AtLeast => (num + den - 1) / den,
        };
        Span(i64::try_from(k.max(1)).unwrap_or(i64::MAX).saturating_mul(bucket)) + tier.pending
    };
    let Some(first) = slo.tiers.iter().map(noticed).min() else { return };
    let gone = i128::from(slo.window.nominal().0) * i128::from(slo.budget_ppm) / 1_000_000;
    if i128::from(first.0) > gone {
        let gone = Span(i64::try_from(gone).unwrap_or(i64::MAX));
        let at = slo.tiers.first().map_or(&slo.place, |tier| &tier.place).clone();
        draft.problems.warning(
            &at,
            format!(
                "a total outage would be noticed after {}, when the budget of `{}` is gone after {}",
                words(first),
                slo.name,
                words(gone)
            ),
        );
    }
}

/// A length of time rounded for a sentence.
fn words(span: Span) -> String {
    let seconds = span.0 / 1000;
    match seconds {
        0..120 => format!("{seconds} seconds"),
        120..7_200 => format!("{} minutes", seconds / 60),
        7_200..172_800 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
