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

/// How a statement names the parameters that it is given in the order in which they stand, each of them once.
///
/// For every parameter SQLite's driver looks up a name, which goes through the names of all before it: a thousand of them take half
/// a million steps. So those of long lists have no names there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marks {
    /// `$1, $2, $3`
    Numbered,
    /// `?, ?, ?`
    Nameless,
}

impl Marks {
    /// The mark of the parameter with this number.
    pub fn one(self, number: usize) -> String {
        match self {
            Marks::Numbered => format!("${number}"),
            Marks::Nameless => "?".into(),
        }
    }

    /// `($1, $2), ($3, $4)`: marks for so many rows of so many columns, counted from `first`.
    pub fn tuples(self, rows: usize, columns: usize, first: usize) -> String {
        let mut text = String::with_capacity(rows * (columns * 7 + 4));
        for row in 0..rows {
            text.push_str(if row == 0 { "(" } else { ", (" });
            self.push(&mut text, columns, first + row * columns);
            text.push(')');
        }
        text
    }

    /// `$3, $4, $5`: so many marks, counted from `first`.
    pub fn list(self, count: usize, first: usize) -> String {
        let mut text = String::with_capacity(count * 7);
        self.push(&mut text, count, first);
        text
    }

    fn push(self, text: &mut String, count: usize, first: usize) {
        for number in first..first + count {
            if number > first {
                text.push_str(", ");
            }
            match self {
                Marks::Numbered => {
                    text.push('$');
                    text.push_str(&number.to_string());
                }
                Marks::Nameless => text.push('?'),
            }
        }
    }
}

/// Rows in lots of few sizes, so that the statements for them are prepared once and kept.
pub(super) fn lots<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = [256, 64, 16, 4, 1].into_iter().find(|size| *size <= rows.len())?;
        let (lot, rest) = rows.split_at(size);
        rows = rest;
        Some(lot)
    })
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
    fn marks_count_on_where_they_have_numbers() {
        assert_eq!(Marks::Numbered.tuples(2, 2, 1), "($1, $2), ($3, $4)");
        assert_eq!(Marks::Numbered.list(3, 4), "$4, $5, $6");
        assert_eq!(Marks::Numbered.one(7), "$7");
        assert_eq!(Marks::Nameless.tuples(2, 2, 1), "(?, ?), (?, ?)");
        assert_eq!(Marks::Nameless.list(3, 4), "?, ?, ?");
        assert_eq!(Marks::Nameless.one(7), "?");
    }

    #[test]
    fn lots_are_all_rows_in_order() {
        let rows: Vec<usize> = (0..406).collect();
        assert_eq!(lots(&rows).map(<[usize]>::len).collect::<Vec<_>>(), [256, 64, 64, 16, 4, 1, 1]);
        assert_eq!(lots(&rows).flatten().copied().collect::<Vec<_>>(), rows);
        assert_eq!(lots::<usize>(&[]).count(), 0);
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
