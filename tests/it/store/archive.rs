//! Stored history: what is compacted reads as what was flushed.

use std::collections::BTreeMap;

use burnwatch::domain::cell::{Cell, Counts};
use burnwatch::domain::segment::Writer;
use burnwatch::domain::series::SeriesId;
use burnwatch::domain::time::{Span, Timestamp};
use burnwatch::store::archive::{self, Wanted, levels};
use burnwatch::store::{Store, Tx, partial, writer};

use super::at;

/// What is stored at each level, by series and slice.
async fn stored(tx: &mut Tx) -> Vec<BTreeMap<(SeriesId, i64), Counts>> {
    let mut all = Vec::new();
    for level in levels(Span::MINUTE) {
        let mut found: BTreeMap<(SeriesId, i64), Counts> = BTreeMap::new();
        let add = |id, slice, cell: Cell| *found.entry((id, slice)).or_insert(Counts::ZERO) += cell.counts;
        archive::cells(tx, level, Span::MINUTE, Timestamp(0), Timestamp(1 << 40), Wanted::All, add).await.unwrap();
        all.push(found);
    }
    all
}

on_both! {
    async fn flushes_of_a_flood_are_compacted_in_portions(store: Store) {
        let mut tx = store.write().await.unwrap();
        writer::open(&mut tx, "w", "intake", at(0)).await.unwrap();
        for n in 1..=3 {
            let mut flush = Writer::default();
            for series in (0..17_000).filter(|series| series % n == 0) {
                for slice in [n, n + 4] {
                    flush.push(SeriesId(series as u32), slice, &Cell { counts: Counts::plain(n, series % 2), ..Cell::default() });
                }
            }
            partial::append(&mut tx, "w", n, at(n), &flush.finish()).await.unwrap();
        }
        let before = stored(&mut tx).await;
        assert_eq!(before[0].len(), 2 * (17_000 + 8_500 + 5_667));
        // Some now, the rest later, and nothing twice.
        for moved in [2, 1, 0] {
            assert_eq!(archive::compact(&mut tx, Span::MINUTE, at(9), 2).await.unwrap(), moved);
            assert_eq!(stored(&mut tx).await, before);
        }
        assert!(partial::after(&mut tx, "w", 0).await.unwrap().is_empty());
    }
}
