//! How values stand in columns, the same on both databases, and the little tools that statements share.

use std::borrow::Cow;

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::{Database, Decode, Encode, Type};

use crate::domain::time::Timestamp;

use super::StoreError;

// Times are bigint milliseconds everywhere.
impl<DB: Database> Type<DB> for Timestamp
where
    i64: Type<DB>,
{
    fn type_info() -> DB::TypeInfo {
        <i64 as Type<DB>>::type_info()
    }
    fn compatible(ty: &DB::TypeInfo) -> bool {
        <i64 as Type<DB>>::compatible(ty)
    }
}

impl<'q, DB: Database> Encode<'q, DB> for Timestamp
where
    i64: Encode<'q, DB>,
{
    fn encode_by_ref(&self, buf: &mut <DB as Database>::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
        self.0.encode_by_ref(buf)
    }
}

impl<'r, DB: Database> Decode<'r, DB> for Timestamp
where
    i64: Decode<'r, DB>,
{
    fn decode(value: <DB as Database>::ValueRef<'r>) -> Result<Self, BoxDynError> {
        <i64 as Decode<'r, DB>>::decode(value).map(Timestamp)
    }
}

/// A struct whose fields are the columns of a row by name, readable from both databases.
macro_rules! row {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident: $ty:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name { $($(#[$field_meta])* pub $field: $ty,)* }

        impl<'r, R: sqlx::Row> sqlx::FromRow<'r, R> for $name
        where
            &'static str: sqlx::ColumnIndex<R>,
            $($ty: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,)*
        {
            fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
                Ok(Self { $($field: row.try_get(stringify!($field))?,)* })
            }
        }
    };
}
pub(super) use row;

/// `($1, $2), ($3, $4)`: placeholders for so many rows of so many columns, counted from `first`.
pub(super) fn tuples(rows: usize, columns: usize, first: usize) -> String {
    let mut text = String::with_capacity(rows * columns * 7);
    let mut next = first;
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns {
            if column > 0 {
                text.push_str(", ");
            }
            text.push('$');
            text.push_str(&next.to_string());
            next += 1;
        }
        text.push(')');
    }
    text
}

/// `$3, $4, $5`: so many placeholders, counted from `first`.
pub(super) fn list(count: usize, first: usize) -> String {
    let tuple = tuples(1, count, first);
    tuple[1..tuple.len() - 1].to_owned()
}

/// SHA-256 over parts, each preceded by its length, so that no two lists of parts look alike.
pub(super) fn digest(parts: &[&str]) -> Vec<u8> {
    use sha2::Digest;
    let mut hash = sha2::Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().to_vec()
}

/// Text as both databases take it: PostgreSQL has no zero byte in text, and a stranger may well send one.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// A pattern for `like … escape '\'` that finds the text anywhere; the text itself has no wildcards.
pub(super) fn contains(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in self::text(text).chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

/// Where a list goes on: below this time, and at the same time below this id (lists are newest first).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub at: Timestamp,
    pub id: String,
}

impl Place {
    /// From the cursor of the caller; without one the list starts at its newest row.
    pub fn from_cursor(cursor: Option<&str>) -> Result<Place, StoreError> {
        let Some(cursor) = cursor else { return Ok(Place { at: Timestamp(i64::MAX), id: String::new() }) };
        let bytes = hex::decode(cursor).map_err(|_| StoreError::Cursor)?;
        let text = String::from_utf8(bytes).map_err(|_| StoreError::Cursor)?;
        let (at, id) = text.split_once(' ').filter(|(_, id)| !id.contains('\0')).ok_or(StoreError::Cursor)?;
        Ok(Place { at: Timestamp(at.parse().map_err(|_| StoreError::Cursor)?), id: id.to_owned() })
    }

    /// The opaque text that is handed out.
    pub fn cursor(&self) -> String {
        hex::encode(format!("{} {}", self.at.0, self.id))
    }
}

/// Cuts a list that was read one row longer than asked for, and says where it goes on.
pub(super) fn page<T>(mut rows: Vec<T>, limit: usize, place: impl Fn(&T) -> Place) -> (Vec<T>, Option<String>) {
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = if more { rows.last().map(|row| place(row).cursor()) } else { None };
    (rows, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_count_on() {
        assert_eq!(tuples(2, 2, 1), "($1, $2), ($3, $4)");
        assert_eq!(list(3, 4), "$4, $5, $6");
    }

    #[test]
    fn parts_are_told_apart_by_their_lengths() {
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
    }

    #[test]
    fn what_people_search_for_has_no_wildcards() {
        assert_eq!(contains("50%_A\\"), "%50\\%\\_A\\\\%");
    }

    #[test]
    fn cursors_read_back_and_strangers_are_refused() {
        let place = Place { at: Timestamp(-5), id: "a b".into() };
        assert_eq!(Place::from_cursor(Some(&place.cursor())).unwrap(), place);
        for bad in ["x", "00", "31", "312000"] {
            assert!(matches!(Place::from_cursor(Some(bad)), Err(StoreError::Cursor)), "{bad}");
        }
    }
}
