use super::*;

fn scheduler() -> Arc<Scheduler> {
    Scheduler::new(&Config {
        demand_per_layer: 2,
        prefetch_total: 4,
        background_total: 2,
        ..Config::default()
    })
}

/// The permit, if it is given at once.
async fn try_permit(scheduler: &Arc<Scheduler>, layer: LayerNumber, lane: Lane) -> Option<Permit> {
    let ticket = Ticket::new(lane);
    let permit = scheduler.permit(layer, &ticket);
    tokio::select! { biased; permit = permit => Some(permit), () = tokio::task::yield_now() => None }
}

#[tokio::test]
async fn readers_of_one_layer_do_not_keep_others_waiting() {
    let scheduler = scheduler();
    let mut stuck = Vec::new();
    for layer in 0..50 {
        stuck.push(try_permit(&scheduler, layer, Lane::Demand).await.unwrap());
        stuck.push(try_permit(&scheduler, layer, Lane::Demand).await.unwrap());
        assert!(try_permit(&scheduler, layer, Lane::Demand).await.is_none());
    }
    assert!(try_permit(&scheduler, 99, Lane::Demand).await.is_some());
}

#[tokio::test]
async fn prefetch_is_bounded_all_together_and_per_layer() {
    let scheduler = scheduler();
    let mut running = Vec::new();
    for layer in [1, 1, 2, 2] {
        running.push(try_permit(&scheduler, layer, Lane::Prefetch).await.unwrap());
        assert!(
            layer == 2 || running.len() == 1 || try_permit(&scheduler, 1, Lane::Prefetch).await.is_none()
        );
    }
    assert!(try_permit(&scheduler, 3, Lane::Prefetch).await.is_none());
    running.pop();
    assert!(try_permit(&scheduler, 3, Lane::Prefetch).await.is_some());
}

#[tokio::test]
async fn background_makes_room_for_readers() {
    let scheduler = scheduler();
    let reader = try_permit(&scheduler, 1, Lane::Demand).await.unwrap();
    let first = try_permit(&scheduler, 1, Lane::Background).await.unwrap();
    assert!(try_permit(&scheduler, 2, Lane::Background).await.is_none());
    drop(reader);
    assert!(try_permit(&scheduler, 2, Lane::Background).await.is_some());
    drop(first);
}

#[tokio::test]
async fn what_a_reader_wants_overtakes() {
    let scheduler = scheduler();
    let mut running = Vec::new();
    for layer in [1, 1, 2, 2] {
        running.push(try_permit(&scheduler, layer, Lane::Prefetch).await.unwrap());
    }
    let ticket = Ticket::new(Lane::Prefetch);
    let waiting = {
        let (scheduler, ticket) = (Arc::clone(&scheduler), Arc::clone(&ticket));
        tokio::spawn(async move { scheduler.permit(3, &ticket).await.lane })
    };
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    scheduler.promote(&ticket, Lane::Demand);
    assert_eq!(waiting.await.unwrap(), Lane::Demand);
}

#[tokio::test]
async fn nothing_is_left_behind_by_those_who_gave_up() {
    let scheduler = scheduler();
    let first = try_permit(&scheduler, 1, Lane::Background).await.unwrap();
    for _ in 0..100 {
        assert!(try_permit(&scheduler, 1, Lane::Background).await.is_none());
    }
    drop(first);
    assert!(try_permit(&scheduler, 1, Lane::Background).await.is_some());
    let state = scheduler.state.lock();
    assert_eq!(state.running, [0; 3]);
    assert!(state.waiting.is_empty() && state.running_in_layer.is_empty());
}
