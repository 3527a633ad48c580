//! Route templates that were learnt.

use burnwatch::domain::aggregate::Learnt;
use burnwatch::store::{Store, learnt_routes};

use super::at;

on_both! {
    async fn learnt_routes_belong_to_whoever_learnt_them_first(store: Store) {
        let learnt = |app: &str, prefix: &str, kept: &[&str]| Learnt {
            app: app.into(),
            prefix: prefix.into(),
            kept: kept.iter().map(|value| (*value).to_owned()).collect(),
        };
        let mut tx = store.write().await.unwrap();
        learnt_routes::add(&mut tx, &learnt("shop", "/p", &["gift", "sale \"%"]), at(10)).await.unwrap();
        learnt_routes::add(&mut tx, &learnt("shop", "/p", &[]), at(20)).await.unwrap();
        learnt_routes::add(&mut tx, &learnt("blog", "/p", &[]), at(20)).await.unwrap();
        let all = learnt_routes::since(&mut tx, at(0)).await.unwrap();
        assert_eq!(all, [(at(10), learnt("shop", "/p", &["gift", "sale \"%"])), (at(20), learnt("blog", "/p", &[]))]);
        assert_eq!(learnt_routes::since(&mut tx, at(11)).await.unwrap(), all[1..]);
    }
}
