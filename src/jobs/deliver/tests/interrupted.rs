//! Crashes, stops, clocks that jump and replicas that took over.

use super::*;

#[tokio::test]
async fn a_crash_between_answer_and_mark_repeats_the_same_id() {
    let hook = Fake::start().await;
    let bench = Bench::new(vec![webhook_at("hook", &hook.url)]).await;
    let id = bench.put("hook", 1, Kind::Opened).await;
    let mut job = bench.job();
    // Sent, but gone before the outcome is committed.
    job.commit().await.unwrap();
    job.start();
    let ended = job.under_way.join_next_with_id().await.unwrap();
    job.take_all(ended);
    drop(job);
    assert_eq!(bench.row(&id).await.state, "pending");
    let mut next = bench.job();
    next.begin().await.unwrap();
    next.step().await.unwrap();
    assert_eq!(hook.seen().iter().map(|seen| seen.header("webhook-id").to_owned()).collect::<Vec<_>>(), [id.clone(), id.clone()]);
    assert_eq!(bench.row(&id).await.state, "delivered");
}

#[tokio::test]
async fn stopping_marks_what_was_sent_and_gives_the_rest_back() {
    let hook = Fake::start().await;
    let bench = Bench::new(vec![webhook_at("hook", &hook.url)]).await;
    let id = bench.put("hook", 1, Kind::Opened).await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(bench.job().run(stop.clone()));
    while hook.seen().is_empty() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(9), running).await.unwrap().unwrap();
    let row = bench.row(&id).await;
    assert_eq!((row.state.as_str(), row.claimed_until), ("delivered", Timestamp(0)));
}

#[tokio::test]
async fn a_clock_that_jumps_back_stops_nothing() {
    let hook = Fake::start().await;
    hook.will([Reply::status(500)]);
    let bench = Bench::new(vec![webhook_at("hook", &hook.url)]).await;
    let id = bench.put("hook", 1, Kind::Opened).await;
    let mut job = bench.job();
    job.step().await.unwrap();
    bench.clock.set(NOW - Span::HOUR);
    job.step().await.unwrap();
    bench.clock.advance(Span::seconds(2));
    job.step().await.unwrap();
    assert_eq!(bench.row(&id).await.state, "delivered");
}

/// As after so long in which the process did not run.
fn sleep(job: &mut Deliver, span: Span) {
    for held in job.rows.values_mut().chain(job.waiting.values_mut().flatten()) {
        held.claimed_at = held.claimed_at.checked_sub(span.to_std()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_replica_has_by_now_is_neither_sent_nor_given_back_nor_put_off() {
    let hook = Fake::start().await;
    let bench = Bench::new(vec![webhook_at("hook", &hook.url)]).await;
    let (mut sleeper, mut other) = (bench.job(), bench.job());
    // One that it had only claimed, and one that it was sending, without luck.
    let claimed = bench.put_for("inc-1", "hook", 1, Kind::Opened, NOW).await;
    sleeper.commit().await.unwrap();
    sleep(&mut sleeper, Span::seconds(16));
    let sent = bench.put_for("inc-2", "hook", 1, Kind::Opened, NOW).await;
    hook.will([Reply::status(500)]);
    let mut failing = bench.job();
    failing.commit().await.unwrap();
    failing.start();
    while hook.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    bench.clock.advance(Span::seconds(16));
    other.commit().await.unwrap();
    let claims = (bench.row(&claimed).await.claimed_until, bench.row(&sent).await.claimed_until);
    assert_eq!(claims, (NOW + Span::seconds(31), NOW + Span::seconds(31)), "both have been taken over");
    bench.clock.advance(Span::SECOND);
    sleeper.step().await.unwrap();
    failing.step().await.unwrap();
    assert_eq!((bench.row(&claimed).await.claimed_until, bench.row(&sent).await.claimed_until), claims);
    assert_eq!(hook.seen().len(), 1, "nothing was sent by who is too late");
    assert_eq!(bench.row(&sent).await.due_at, NOW, "nothing was put off");
    other.step().await.unwrap();
    assert_eq!(hook.seen().len(), 3);
    for id in [claimed, sent] {
        assert_eq!(bench.row(&id).await.state, "delivered");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_ahead_sends_nothing_beside_itself() {
    let hook = Fake::start().await;
    let bench = Bench::new(vec![webhook_at("hook", &hook.url)]).await;
    let ids = [bench.put_for("inc-1", "hook", 1, Kind::Opened, NOW).await, bench.put_for("inc-2", "hook", 1, Kind::Opened, NOW).await];
    let mut job = bench.job();
    job.commit().await.unwrap();
    job.start();
    // By the clock all claims are over, and what they were for is under way.
    bench.clock.advance(Span::hours(2));
    job.commit().await.unwrap();
    job.start();
    job.step().await.unwrap();
    assert_eq!(hook.seen().len(), 2);
    for id in ids {
        assert_eq!((bench.row(&id).await.state.as_str(), bench.row(&id).await.attempts), ("delivered", 1));
    }
}

#[tokio::test]
async fn a_crash_at_any_step_of_a_delivery_loses_nothing_and_repeats_under_the_same_id() {
    for (step, arrivals) in [("stored", 1), ("claimed", 1), ("sent", 2), ("recorded", 1)] {
        let hook = Fake::start().await;
        let bench = Bench::new(vec![webhook_at("hook", &hook.url)]).await;
        let id = bench.put("hook", 1, Kind::Opened).await;
        let mut job = bench.job();
        if step != "stored" {
            job.commit().await.unwrap();
        }
        if matches!(step, "sent" | "recorded") {
            job.start();
            let ended = job.under_way.join_next_with_id().await.unwrap();
            job.take_all(ended);
        }
        if step == "recorded" {
            job.commit().await.unwrap();
        }
        drop(job);
        let mut next = bench.job();
        next.begin().await.unwrap();
        next.step().await.unwrap();
        let ids: Vec<String> = hook.seen().iter().map(|seen| seen.header("webhook-id").to_owned()).collect();
        assert_eq!(ids, vec![id.clone(); arrivals], "killed when it was {step}");
        assert_eq!(bench.row(&id).await.state, "delivered", "killed when it was {step}");
    }
}
