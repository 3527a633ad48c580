//! The overview: what is in memory, and what is read of stored history once a minute.

use std::sync::Arc;

use axum::response::Response;

use super::Site;
use super::evidence::evidence;
use super::heat::heat;
use super::oncall::row_of;
use super::slos::overall;
use crate::domain::snapshot::Snapshot;
use crate::store::{incidents, transition};
use crate::web::frame::Page;
use crate::web::pages::oncall::rank;
use crate::web::pages::overview::{self as pages, Overview};
use crate::web::pages::slos::worst_first;
use crate::web::problem::Problem;

pub async fn page(site: Site) -> Response {
    let snapshot = site.state.snapshot.load_full();
    let page = read(&site, &snapshot).await;
    site.show(page).await
}

async fn read(site: &Site, snapshot: &Arc<Snapshot>) -> Result<Page, Problem> {
    let mut tx = site.state.store.read().await?;
    let open = incidents::open(&mut tx).await?;
    drop(tx);
    let mut incidents = open.iter().map(|row| Ok(row_of(&transition::read(row)?))).collect::<Result<Vec<_>, Problem>>()?;
    rank(&mut incidents);
    let mut rows = overall(snapshot);
    worst_first(&mut rows);
    let evidence = evidence(site, snapshot).await;
    let (dimension, heat) = heat(snapshot, &rows, evidence.as_deref());
    Ok(pages::page(&Overview { rows, heat, dimension, incidents, evidence, silent: snapshot.silent_apps.clone(), now: site.now }))
}
