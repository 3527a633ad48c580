//! Whether a point in time lies in a named time interval.

use chrono::{Datelike, Months, NaiveDate, Timelike};
use chrono_tz::Tz;

use super::zone;
use crate::domain::rule::TimeInterval;
use crate::domain::time::Timestamp;

impl TimeInterval {
    /// Whether `t` lies in it, in its own zone. An unknown zone reads as UTC.
    pub fn contains(&self, t: Timestamp) -> bool {
        let Some(at) = t.to_chrono() else { return false };
        let local = at.with_timezone(&zone(&self.timezone).unwrap_or(Tz::UTC));
        let minute = (local.hour() * 60 + local.minute()) as u16;
        let weekday = local.weekday().num_days_from_sunday() as u8;
        let day = local.day() as i8;
        let last = days_in_month(local.year(), local.month());
        // -1 is the last day of the month; a range that reaches past an end stops there.
        let resolve = |day: i8| if day < 0 { (last + 1 + day).max(1) } else { day.min(last) };
        let any = |matches: Vec<bool>| matches.is_empty() || matches.contains(&true);
        any(self.times.iter().map(|(from, to)| (*from..*to).contains(&minute)).collect())
            && any(self.weekdays.iter().map(|(from, to)| (*from..=*to).contains(&weekday)).collect())
            && any(self
                .days_of_month
                .iter()
                .map(|(from, to)| !(*from > last || *to < -last) && (resolve(*from)..=resolve(*to)).contains(&day))
                .collect())
            && any(self.months.iter().map(|(from, to)| (*from..=*to).contains(&(local.month() as u8))).collect())
            && any(self.years.iter().map(|(from, to)| (*from..=*to).contains(&local.year())).collect())
    }
}

fn days_in_month(year: i32, month: u32) -> i8 {
    let first = NaiveDate::from_ymd_opt(year, month, 1).unwrap_or_default();
    first.checked_add_months(Months::new(1)).map_or(31, |next| (next - first).num_days() as i8)
}
