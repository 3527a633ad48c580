//! Finds the segments worth scoring: values, sets of values, and up to three terms, level by level.
//!
//! A pair is found from its parts, because each part already holds all of the pair's excess.

use smallvec::smallvec;

use super::segment::{Judge, Segment, Term, Terms, WORD, tie, words};
use super::table::Sums;

const LEVELS: usize = 3;
/// How many segments a level keeps by each of the two measures.
const KEPT: usize = 8;
/// Most values of a set.
const SET_MAX: usize = 5;

/// A segment before its rows are listed.
struct Draft {
    /// Index of the segment that it extends.
    parent: usize,
    terms: Terms,
    /// Evidence less words, against what was to be expected, and against the given ratio.
    own: f64,
    sharp: f64,
}

/// The segments of `rows` that are worth a name, in no particular order. `ratio` is what sharp segments must stand out from.
pub(super) fn search(judge: &Judge<'_>, rows: &[u32], ratio: f64) -> Vec<Segment> {
    let whole = Segment { terms: Terms::new(), rows: rows.to_vec(), sums: judge.table.sums(rows), gain: 0.0, score: 0.0, sharp: 0.0 };
    let mut found: Vec<Segment> = Vec::new();
    let mut parents = vec![whole];
    for _ in 0..LEVELS {
        let mut drafts = Vec::new();
        for (at, parent) in parents.iter().enumerate() {
            for dim in 0..judge.table.dims.len() {
                if parent.terms.iter().all(|term| term.dim != dim) {
                    extend(judge, parent, at, dim, ratio, &mut drafts);
                }
            }
        }
        let kept = keep(drafts);
        let next: Vec<Segment> = kept.iter().map(|draft| weigh(judge, &parents[draft.parent], draft, ratio)).collect();
        found.append(&mut parents);
        parents = next;
    }
    found.append(&mut parents);
    // The first one is everything, which is no segment.
    found.remove(0);
    found
}

/// Adds a segment for every value of a dimension that is worth a look, and for the sets of its worst values.
fn extend(judge: &Judge<'_>, parent: &Segment, at: usize, dim: usize, ratio: f64, drafts: &mut Vec<Draft>) {
    let table = judge.table;
    let column = &table.dims[dim];
    let mut by_value = vec![Sums::default(); column.values.len()];
    for row in &parent.rows {
        by_value[usize::from(column.codes[*row as usize])] += table.rows[*row as usize].sums();
    }
    let mut values: Vec<(u16, Sums)> = Vec::new();
    for (code, sums) in by_value.into_iter().enumerate() {
        if judge.is_candidate(&sums) {
            values.push((code as u16, sums));
        }
    }
    for (code, sums) in &values {
        drafts.push(draft(judge, parent, at, Term { dim, values: smallvec![*code] }, sums, ratio));
    }
    values.sort_by(|(x, a), (y, b)| (b.excess() / b.n).total_cmp(&(a.excess() / a.n)).then(x.cmp(y)));
    let mut sums = Sums::default();
    let mut term = Term { dim, values: smallvec![] };
    for (code, own) in values.iter().take(SET_MAX) {
        sums += *own;
        if sums.n > 0.8 * parent.sums.n {
            break;
        }
        term.values.push(*code);
        if term.values.len() > 1 {
            let mut term = term.clone();
            term.values.sort_unstable();
            drafts.push(draft(judge, parent, at, term, &sums, ratio));
        }
    }
}

fn draft(judge: &Judge<'_>, parent: &Segment, at: usize, term: Term, sums: &Sums, ratio: f64) -> Draft {
    let mut terms = parent.terms.clone();
    terms.push(term);
    terms.sort_unstable_by_key(|term| term.dim);
    let price = WORD * words(&terms) as f64;
    let own = judge.evidence(sums, sums.e / sums.n) - price;
    let sharp = judge.evidence(sums, ratio) - price;
    Draft { parent: at, terms, own, sharp }
}

/// The best by each measure, and the best of those without a set, each once.
fn keep(mut drafts: Vec<Draft>) -> Vec<Draft> {
    // The same terms may be reached from two parents; the first stays.
    drafts.sort_by(|a, b| a.terms.cmp(&b.terms).then(a.parent.cmp(&b.parent)));
    drafts.dedup_by(|b, a| a.terms == b.terms);
    let mut wanted = vec![false; drafts.len()];
    for measure in [|draft: &Draft| draft.own, |draft: &Draft| draft.sharp] {
        let mut order: Vec<usize> = (0..drafts.len()).collect();
        order.sort_by(|x, y| {
            let (x, y) = (&drafts[*x], &drafts[*y]);
            measure(y).total_cmp(&measure(x)).then_with(|| tie(&x.terms, &y.terms))
        });
        let plain = order.iter().find(|at| drafts[**at].terms.iter().all(|term| term.values.len() == 1));
        order.iter().take(KEPT).chain(plain).for_each(|at| wanted[*at] = true);
    }
    let mut wanted = wanted.into_iter();
    drafts.retain(|_| wanted.next().unwrap_or(false));
    drafts
}

fn weigh(judge: &Judge<'_>, parent: &Segment, draft: &Draft, ratio: f64) -> Segment {
    let rows = judge.table.select(&parent.rows, &draft.terms);
    // Summed anew in the order of rows, so that the same rows give the same sums whatever their terms.
    let sums = judge.table.sums(&rows);
    let gain = judge.gain(&rows, &sums);
    let score = judge.score(&draft.terms, &rows, gain);
    let sharp = judge.score(&draft.terms, &rows, judge.evidence(&sums, ratio));
    Segment { terms: draft.terms.clone(), rows, sums, gain, score, sharp }
}
