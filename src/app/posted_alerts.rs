//! What `/api/v2/alerts` calls: the receiver that stores, and the board that knows.

use crate::domain::posted::{Board, Posted};
use crate::domain::time::Timestamp;
use crate::jobs::posted::{Post, Shared};
use crate::web::query::Later;
use crate::web::state::{self, CallError};

/// Alerts from others.
pub struct Alerts {
    shared: Shared,
    post: Post,
}

impl Alerts {
    /// Over a board and its receiver.
    pub fn new(shared: Shared, post: Post) -> Alerts {
        Alerts { shared, post }
    }
}

impl state::Alerts for Alerts {
    fn post(&self, alerts: Vec<Posted>, now: Timestamp) -> Later<Result<(), CallError>> {
        let post = self.post.clone();
        Box::pin(async move { post.post(alerts, now).await.map_err(|error| CallError::Failed(Box::new(error))) })
    }

    fn look(&self, look: &mut dyn FnMut(&Board)) {
        look(&self.shared.read());
    }
}
