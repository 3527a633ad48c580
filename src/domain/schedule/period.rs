//! Where calendar periods begin and end (SEMANTICS 13).

use chrono::{Datelike, Days, Months, NaiveDate};
use chrono_tz::Tz;

use super::first_instant;
use crate::domain::rule::Period;
use crate::domain::time::Timestamp;

impl Period {
    /// The period that holds `t`, half-open, in real time (SEMANTICS 13). `t` at a very start belongs to the new period.
    pub fn around(self, zone: Tz, t: Timestamp) -> (Timestamp, Timestamp) {
        let date = t.to_chrono().unwrap_or_default().with_timezone(&zone).date_naive();
        let month = |month: u32| NaiveDate::from_ymd_opt(date.year(), month, 1).unwrap_or(date);
        let (first, months) = match self {
            Period::Day => (date, None),
            Period::Week => (date - Days::new(u64::from(date.weekday().num_days_from_monday())), None),
            Period::Month => (month(date.month()), Some(1)),
            Period::Quarter => (month((date.month() - 1) / 3 * 3 + 1), Some(3)),
            Period::Year => (month(1), Some(12)),
        };
        let next = match months {
            Some(months) => first.checked_add_months(Months::new(months)),
            None => first.checked_add_days(Days::new(if self == Period::Day { 1 } else { 7 })),
        };
        let midnight = |date: NaiveDate| first_instant(zone, date.and_time(chrono::NaiveTime::MIN));
        (midnight(first), midnight(next.unwrap_or(first)))
    }
}
