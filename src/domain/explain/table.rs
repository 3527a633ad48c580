//! The rows of an explanation as interned columns: sorted, capped, ready to be summed.

use std::ops::{AddAssign, Sub};

use ahash::AHashMap;

use super::super::series::OTHER;
use super::Input;
use super::segment::Term;

/// Which dimension is named first when several say the same; others follow by name.
pub(super) const ORDER: [&str; 10] = ["release", "app", "route", "region", "cohort", "os", "browser", "device", "sdk", "environment"];
/// Bad events that one user counts for in one series: one client is not a segment.
const PER_USER: u64 = 5;

/// Where a dimension stands in the order of names.
pub(super) fn rank(dimension: &str) -> usize {
    ORDER.iter().position(|name| *name == dimension).unwrap_or(ORDER.len())
}

/// A dimension with more than one value, and what its values have in all rows.
pub(super) struct Dim<'a> {
    pub name: &'a str,
    /// Sorted, so that codes compare like values.
    pub values: Vec<&'a str>,
    /// Code of each row.
    pub codes: Vec<u16>,
    /// Weighted events in the window and in the baseline, by code.
    pub traffic: Vec<(f64, f64)>,
}

/// One row.
pub(super) struct Line {
    /// Its index in the input.
    pub input: usize,
    pub n: f64,
    /// Bad events, capped per user.
    pub b: f64,
    /// Bad events as they were counted.
    pub counted_b: f64,
    /// Received bad events, capped per user.
    pub raw_bad: f64,
    pub bad_users: u64,
    pub baseline_n: f64,
    pub baseline_b: f64,
    /// The ratio that it should have had.
    pub r: f64,
}

/// Sums over some rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sums {
    pub n: f64,
    pub b: f64,
    /// Bad events that were to be expected.
    pub e: f64,
    pub raw_bad: f64,
}

impl Sums {
    /// Bad events above what was to be expected.
    pub fn excess(&self) -> f64 {
        self.b - self.e
    }
}

impl AddAssign for Sums {
    fn add_assign(&mut self, rhs: Sums) {
        self.n += rhs.n;
        self.b += rhs.b;
        self.e += rhs.e;
        self.raw_bad += rhs.raw_bad;
    }
}
impl Sub for Sums {
    type Output = Sums;
    fn sub(self, rhs: Sums) -> Sums {
        Sums { n: self.n - rhs.n, b: self.b - rhs.b, e: self.e - rhs.e, raw_bad: self.raw_bad - rhs.raw_bad }
    }
}

/// All rows, in an order that depends on nothing but themselves.
pub(super) struct Table<'a> {
    pub dims: Vec<Dim<'a>>,
    pub rows: Vec<Line>,
    /// The one app of all rows, else the app of the input.
    pub app: String,
}

impl<'a> Table<'a> {
    pub fn new(input: &Input<'a>) -> Table<'a> {
        let mut app = input.app.to_owned();
        let mut dims = Vec::new();
        for column in columns(input) {
            let dim = column.into_dim();
            match dim.values[..] {
                [only] if dim.name == "app" && !only.is_empty() => app = only.to_owned(),
                [] | [_] => {}
                _ => dims.push(dim),
            }
        }
        dims.sort_by_key(|dim| (rank(dim.name), dim.name));

        let mut rows: Vec<Line> = input.rows.iter().enumerate().map(|(at, row)| line(at, row)).collect();
        // Two rows with equal codes may only differ in their numbers, which then decide.
        rows.sort_by(|x, y| {
            let codes = dims.iter().map(|dim| dim.codes[x.input].cmp(&dim.codes[y.input])).find(|order| order.is_ne());
            codes.unwrap_or_else(|| {
                let numbers = |row: &Line| [row.n, row.b, row.counted_b, row.raw_bad, row.baseline_n, row.baseline_b, row.bad_users as f64];
                numbers(x)
                    .iter()
                    .zip(numbers(y))
                    .map(|(a, b)| a.total_cmp(&b))
                    .find(|order| order.is_ne())
                    .unwrap_or(std::cmp::Ordering::Equal)
            })
        });
        for dim in &mut dims {
            dim.codes = rows.iter().map(|row| dim.codes[row.input]).collect();
            for (row, code) in rows.iter().zip(&dim.codes) {
                let traffic = &mut dim.traffic[usize::from(*code)];
                traffic.0 += row.n;
                traffic.1 += row.baseline_n;
            }
        }
        Table { dims, rows, app }
    }

    /// Sums over rows, in their order.
    pub fn sums(&self, rows: &[u32]) -> Sums {
        let mut sums = Sums::default();
        for row in rows {
            sums += self.rows[*row as usize].sums();
        }
        sums
    }

    /// Those of `rows` that all terms select.
    pub fn select(&self, rows: &[u32], terms: &[Term]) -> Vec<u32> {
        let selected = |row: &u32| terms.iter().all(|term| term.values.contains(&self.dims[term.dim].codes[*row as usize]));
        rows.iter().copied().filter(selected).collect()
    }

    /// The dimension of this name, unless it has one value only.
    pub fn dim(&self, name: &str) -> Option<usize> {
        self.dims.iter().position(|dim| dim.name == name)
    }

    /// The app of some rows: theirs if they have only one, else that of the whole.
    pub fn app_of(&self, rows: &[u32]) -> String {
        let Some(dim) = self.dim("app").map(|at| &self.dims[at]) else { return self.app.clone() };
        let mut codes = rows.iter().map(|row| dim.codes[*row as usize]);
        match codes.next() {
            Some(first) if codes.all(|code| code == first) => dim.values[usize::from(first)].to_owned(),
            _ => self.app.clone(),
        }
    }
}

impl Line {
    pub fn sums(&self) -> Sums {
        Sums { n: self.n, b: self.b, e: self.n * self.r, raw_bad: self.raw_bad }
    }
}

/// A dimension while it is read: values in the order in which they come.
struct Column<'a> {
    name: &'a str,
    /// The first is the empty value, whether any row has it or not.
    values: Vec<&'a str>,
    /// Received bad events by value.
    bad: Vec<u64>,
    known: AHashMap<&'a str, u32>,
    /// Index of each row's value.
    rows: Vec<u32>,
}

fn columns<'a>(input: &Input<'a>) -> Vec<Column<'a>> {
    let mut columns: Vec<Column<'a>> = Vec::new();
    for (at, row) in input.rows.iter().enumerate() {
        for (position, (name, value)) in row.dims.iter().enumerate() {
            // Rows mostly have the same names at the same positions.
            let usual = columns.get(position).is_some_and(|column| column.name == *name).then_some(position);
            let column = match usual.or_else(|| columns.iter().position(|column| column.name == *name)) {
                Some(known) => &mut columns[known],
                None => {
                    let known = AHashMap::from_iter([("", 0)]);
                    columns.push(Column { name, values: vec![""], bad: vec![0], known, rows: vec![0; input.rows.len()] });
                    columns.last_mut().expect("one was pushed just now")
                }
            };
            let code = *column.known.entry(value).or_insert_with(|| {
                column.values.push(value);
                column.bad.push(0);
                (column.values.len() - 1) as u32
            });
            column.rows[at] = code;
            column.bad[code as usize] += row.raw_bad;
        }
    }
    columns
}

impl<'a> Column<'a> {
    /// Sorts the values. Codes have 16 bits: beyond that, the values with the fewest bad events become `__other__`.
    fn into_dim(self) -> Dim<'a> {
        let mut used = vec![false; self.values.len()];
        self.rows.iter().for_each(|value| used[*value as usize] = true);
        let mut kept: Vec<usize> = (0..self.values.len()).filter(|value| used[*value]).collect();
        if kept.len() > usize::from(u16::MAX) {
            kept.sort_by_key(|value| (std::cmp::Reverse(self.bad[*value]), self.values[*value]));
            kept.truncate(usize::from(u16::MAX) - 1);
        }
        let folded = kept.len() < used.iter().filter(|used| **used).count();
        let mut values: Vec<&str> = kept.iter().map(|value| self.values[*value]).chain(folded.then_some(OTHER)).collect();
        values.sort_unstable();
        values.dedup();
        let other = values.binary_search(&OTHER).unwrap_or(0);
        let codes: Vec<u16> = self.values.iter().map(|value| values.binary_search(value).unwrap_or(other) as u16).collect();
        let traffic = vec![(0.0, 0.0); values.len()];
        Dim { name: self.name, codes: self.rows.iter().map(|value| codes[*value as usize]).collect(), values, traffic }
    }
}

fn line(input: usize, row: &super::Row<'_>) -> Line {
    // Cells are signed while updates are under way; what is below zero was not there.
    let count = |x: f64| if x.is_finite() { x.max(0.0) } else { 0.0 };
    let n = count(row.n);
    let counted_b = count(row.b).min(n);
    let capped = if row.bad_users == 0 { row.raw_bad } else { row.raw_bad.min(row.bad_users.saturating_mul(PER_USER)) };
    let share = if row.raw_bad == 0 { 1.0 } else { capped as f64 / row.raw_bad as f64 };
    let baseline_n = count(row.baseline_n);
    Line {
        input,
        n,
        b: counted_b * share,
        counted_b,
        raw_bad: capped as f64,
        bad_users: row.bad_users,
        baseline_n,
        baseline_b: count(row.baseline_b).min(baseline_n),
        r: 0.0,
    }
}
