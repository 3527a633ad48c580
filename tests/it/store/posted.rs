//! Alerts of others.

use burnwatch::domain::posted::{Key, Packed, Posted};
use burnwatch::store::{Store, posted};

use super::at;

fn posted_alert(name: &str, ends: i64) -> Posted {
    let labels = [("alertname", name), ("odd", "nul\0, \"quote\", ü")].map(|(k, v)| (k.into(), v.into())).into();
    Posted {
        labels: Packed::new(&labels),
        annotations: r#"{"summary":"x"}"#.into(),
        generator: "http://x/".into(),
        starts: at(0),
        ends: at(ends),
        timed: true,
        updated: at(1),
    }
}

on_both! {
    async fn posted_alerts_are_followed_joined_and_forgotten(store: Store) {
        let alerts: Vec<Posted> = (0..150).map(|n| posted_alert(&format!("a{n}"), 60)).collect();
        let rows: Vec<(Key, &Posted)> = alerts.iter().map(|alert| (alert.labels.key(), alert)).collect();
        let mut tx = store.write().await.unwrap();
        let first = posted::save(&mut tx, &rows).await.unwrap();
        tx.commit().await.unwrap();

        let mut tx = store.read().await.unwrap();
        let read = posted::after(&mut tx, 0).await.unwrap();
        drop(tx);
        assert_eq!(read.len(), 150);
        assert!(read.iter().all(|row| row.seq == first && row.incident.is_empty()));
        let same = read.iter().find(|row| row.alert().unwrap().labels.get("alertname") == "a7").unwrap();
        assert_eq!(same.alert().unwrap(), alerts[7]);

        // A repeat takes the place of the row and leaves its incident alone.
        let mut tx = store.write().await.unwrap();
        posted::join(&mut tx, &[(&rows[7].0, "i1"), (&rows[8].0, "i1")]).await.unwrap();
        let later = Posted { timed: false, ..posted_alert("a7", 90) };
        let second = posted::save(&mut tx, &[(rows[7].0, &later)]).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(second, first + 1);
        let mut tx = store.read().await.unwrap();
        let new = posted::after(&mut tx, first).await.unwrap();
        drop(tx);
        assert_eq!(new.len(), 1);
        assert_eq!((new[0].alert().unwrap(), new[0].incident.as_str()), (later, "i1"));

        // What is over goes; what was heard of again stays, and belongs to no incident any more.
        let mut tx = store.write().await.unwrap();
        posted::remove(&mut tx, &[rows[7].0, rows[8].0], at(60)).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = store.read().await.unwrap();
        let left = posted::after(&mut tx, 0).await.unwrap();
        assert_eq!(left.len(), 149);
        assert!(left.iter().all(|row| row.incident.is_empty()));
    }
}
