//! Numbers of other formats, read exactly: shares, lengths of time, factors.

use crate::domain::fraction::Fraction;
use crate::domain::time::Span;

/// How a format writes an objective.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// 0.99
    Share,
    /// 99
    Percent,
}

/// An objective in parts per million, and what is odd about how it is written.
pub fn objective(text: &str, scale: Scale) -> Result<(u32, Option<String>), String> {
    let exact: Fraction = text.trim().parse().map_err(|_| format!("`{text}` is no decimal number"))?;
    let one = Fraction::whole(1);
    let (mut per_unit, mut odd) = (scale, None);
    match scale {
        Scale::Share if exact > one => {
            per_unit = Scale::Percent;
            odd = Some(format!("`{text}` is a percentage where a fraction from 0 to 1 is expected; it is read as {text} %"));
        }
        // 1 % itself is as unlikely, but there is no better reading of it.
        Scale::Percent if exact < one => {
            per_unit = Scale::Share;
            odd = Some(format!("`{text}` is a fraction where a percentage is expected; it is read as a share of 1"));
        }
        Scale::Share | Scale::Percent => {}
    }
    let ppm = match per_unit {
        Scale::Share => exact.scale(1_000_000, 1),
        Scale::Percent => exact.scale(10_000, 1),
    };
    let ppm = ppm.filter(|ppm| ppm.den() == 1).ok_or_else(|| format!("`{text}` has more than six decimals as a fraction"))?;
    match u32::try_from(ppm.num()) {
        Ok(ppm @ 1..1_000_000) => Ok((ppm, odd)),
        Ok(1_000_000) => Err(format!("`{text}` is an impossible target: 100 % leaves no error budget")),
        Ok(0) => Err(format!("`{text}` is an impossible target: everything may fail")),
        Ok(_) | Err(_) => Err(format!("`{text}` is an impossible target: it must lie between 0 % and 100 %")),
    }
}

/// A length of time as Prometheus and Kubernetes write it: `1h30m`, `45m0s`, `2w`. A leading `-` is dropped and told.
pub fn length(text: &str) -> Result<(Span, Option<String>), String> {
    let trimmed = text.trim();
    let (digits, odd) = match trimmed.strip_prefix('-') {
        Some(rest) => (rest, Some(format!("`{text}` is negative; it is read as {rest}"))),
        None => (trimmed, None),
    };
    let bad = || format!("`{text}` is no length of time");
    let mut rest = digits;
    let mut sum = 0_i64;
    while !rest.is_empty() {
        let number = rest.bytes().take_while(u8::is_ascii_digit).count();
        let unit = rest[number..].bytes().take_while(u8::is_ascii_lowercase).count();
        if number == 0 || unit == 0 {
            return Err(bad());
        }
        let (part, after) = rest.split_at(number + unit);
        let span: Span = match part.split_at(number) {
            (years, "y") => years.parse::<i64>().ok().filter(|years| *years <= 100).map(|years| Span::days(365 * years)).ok_or_else(bad)?,
            _ => part.parse().map_err(|_| bad())?,
        };
        sum = sum.checked_add(span.millis()).ok_or_else(bad)?;
        rest = after;
    }
    if sum <= 0 { Err(bad()) } else { Ok((Span(sum), odd)) }
}

/// A burn factor or a weight: a positive decimal, or `a/b` in our own export.
pub fn positive(text: &str) -> Result<Fraction, String> {
    let parsed = match text.trim().split_once('/') {
        Some((num, den)) => num.parse().ok().zip(den.parse().ok()).and_then(|(num, den)| Fraction::new(num, den)).ok_or(()),
        None => text.trim().parse::<Fraction>().map_err(|_| ()),
    };
    match parsed {
        Ok(exact) if exact > Fraction::whole(0) => Ok(exact),
        Ok(_) | Err(_) => Err(format!("`{text}` is no positive decimal number")),
    }
}

/// The decimal of a fraction as a literal, if it ends.
pub fn decimal(exact: Fraction) -> Option<String> {
    let text = exact.to_string();
    match text.contains('/') {
        true => None,
        false if text.contains('.') => Some(text),
        false => Some(text + ".0"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objectives_are_exact_and_odd_ones_are_told() {
        assert_eq!(objective("0.999", Scale::Share), Ok((999_000, None)));
        assert_eq!(objective("99.95", Scale::Percent), Ok((999_500, None)));
        assert_eq!(objective("99.0", Scale::Percent), Ok((990_000, None)));
        let (ppm, odd) = objective("99.5", Scale::Share).unwrap();
        assert!(ppm == 995_000 && odd.unwrap().contains("percentage"));
        let (ppm, odd) = objective("0.995", Scale::Percent).unwrap();
        assert!(ppm == 995_000 && odd.unwrap().contains("fraction"));
        for (text, scale) in
            [("1", Scale::Share), ("100", Scale::Percent), ("101", Scale::Percent), ("0", Scale::Share), ("-1", Scale::Share)]
        {
            assert!(objective(text, scale).unwrap_err().contains("impossible"), "{text}");
        }
        assert!(objective("high", Scale::Share).is_err());
        assert!(objective("99.99999", Scale::Percent).unwrap_err().contains("six decimals"));
    }

    #[test]
    fn lengths_add_up() {
        assert_eq!(length("1h30m"), Ok((Span::minutes(90), None)));
        assert_eq!(length("45m0s"), Ok((Span::minutes(45), None)));
        assert_eq!(length("1y"), Ok((Span::days(365), None)));
        assert_eq!(length("-1h").unwrap().0, Span::HOUR);
        for bad in ["", "Week", "1 h", "5", "0s", "1M", "h", "99999999999999999999s", "200y"] {
            assert!(length(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn decimals_are_written_as_they_are_or_not_at_all() {
        let written = |num, den| decimal(Fraction::new(num, den).unwrap());
        assert_eq!(written(144, 10).as_deref(), Some("14.4"));
        assert_eq!(written(3, 1).as_deref(), Some("3.0"));
        assert_eq!(written(5, 100).as_deref(), Some("0.05"));
        assert_eq!(written(28, 30), None);
    }
}
