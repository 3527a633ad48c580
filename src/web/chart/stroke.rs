//! The stroke of a curve over even steps.
//!
//! Always holds: a step without a value has no coordinate, and the stroke is broken there.

use std::fmt::Write as _;

/// A line from middle to middle of its steps; `heights` count downwards from the top. A lone value is a short dash. Written by what
/// changes from step to step, in tenths, which add up exactly: that is half as long as places.
pub fn broken(heights: &[Option<f64>]) -> String {
    let mut path = String::new();
    let mut last: Option<i64> = None;
    for (i, height) in heights.iter().enumerate() {
        let Some(tenths) = height.filter(|height| height.is_finite()).map(|height| (height * 10.0).round() as i64) else {
            last = None;
            continue;
        };
        let alone = heights.get(i + 1).is_none_or(Option::is_none);
        let written = match last {
            Some(before) => write!(path, "l1 {}", (tenths - before) as f64 / 10.0),
            None => write!(path, "M{i}.5 {:.1}{}", tenths as f64 / 10.0, if alone { "h.4" } else { "" }),
        };
        written.expect("a string takes every write");
        last = Some(tenths);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_breaks_the_stroke_and_what_changes_adds_up() {
        assert_eq!(broken(&[Some(10.04), Some(9.96), Some(7.0), None, Some(1.0), None, None]), "M0.5 10.0l1 0l1 -3M4.5 1.0h.4");
        assert_eq!(broken(&[None, Some(f64::NAN), None]), "");
        let thirds: Vec<Option<f64>> = (0..300).map(|i| Some(f64::from(i) / 3.0)).collect();
        let path = broken(&thirds);
        let moved: f64 = path.split("l1 ").skip(1).map(|step| step.parse::<f64>().unwrap()).sum();
        assert!((moved - 299.0 / 3.0).abs() < 0.06, "{moved}");
    }
}
