use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

/// The connection ends when it is told to.
fn spawn(place: Place) -> tokio::task::JoinHandle<Ended> {
    tokio::spawn(async move { place.member().ended(Duration::from_secs(60)).await })
}

async fn pass(time: Duration) {
    tokio::time::advance(time).await;
}

#[tokio::test(start_paused = true)]
async fn nt_03_a_newcomer_gets_the_place_of_whoever_has_waited_longest() {
    let crowd = Crowd::new(3);
    let mut connections = Vec::new();
    for _ in 0..3 {
        connections.push(crowd.admit(PATIENCE).await.unwrap());
        pass(Duration::from_secs(1)).await;
    }
    // The first has been answered since; now the second has waited longest.
    connections[0].member().moved();
    let mut connections: Vec<_> = connections.into_iter().map(spawn).collect();
    let newcomer = crowd.admit(PATIENCE).await.unwrap();
    assert!(matches!(connections.remove(1).await.unwrap(), Ended::PlaceNeeded));
    assert!(connections.iter().all(|connection| !connection.is_finished()));
    assert_eq!(crowd.members().len(), 3);
    drop(newcomer);
    assert_eq!(crowd.members().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_waits_for_us_keeps_its_place() {
    let crowd = Crowd::new(2);
    let first = crowd.admit(PATIENCE).await.unwrap();
    let first_member = Arc::clone(first.member());
    first_member.begin_work();
    pass(Duration::from_secs(1)).await;
    let second = crowd.admit(PATIENCE).await.unwrap();
    let (first, second) = (spawn(first), spawn(second));
    let third = crowd.admit(PATIENCE).await.unwrap();
    assert!(matches!(second.await.unwrap(), Ended::PlaceNeeded));
    assert!(!first.is_finished());

    // Where nobody waits for the client, a newcomer gets the first place that does.
    third.member().begin_work();
    let admitting = tokio::spawn({
        let crowd = Arc::clone(&crowd);
        async move { crowd.admit(PATIENCE).await.unwrap() }
    });
    pass(Duration::from_secs(1)).await;
    assert!(!admitting.is_finished() && !first.is_finished());
    first_member.end_work();
    drop(admitting.await.unwrap());
    assert!(matches!(first.await.unwrap(), Ended::PlaceNeeded));
}

#[tokio::test(start_paused = true)]
async fn nt_03_a_connection_on_which_nothing_moves_ends() {
    let crowd = Crowd::new(2);
    let place = crowd.admit(PATIENCE).await.unwrap();
    let member = Arc::clone(place.member());
    let began = Instant::now();
    let connection = spawn(place);
    tokio::task::yield_now().await;
    pass(Duration::from_secs(50)).await;
    member.begin_work();
    pass(Duration::from_secs(50)).await;
    member.end_work();
    assert!(matches!(connection.await.unwrap(), Ended::Idle));
    let lasted = began.elapsed();
    assert!(lasted >= Duration::from_secs(160) && lasted < Duration::from_secs(221), "{lasted:?}");
}

#[tokio::test(start_paused = true)]
async fn nt_03_what_is_held_for_clients_together_is_bounded() {
    let crowd = Crowd::new(100);
    let share = HELD_BYTES / 10;
    let mut connections = Vec::new();
    let idle = spawn(crowd.admit(PATIENCE).await.unwrap());
    for _ in 0..25 {
        pass(Duration::from_secs(1)).await;
        let place = crowd.admit(PATIENCE).await.unwrap();
        assert!(place.member().hold(share));
        connections.push(tokio::spawn(async move {
            let member = place.member();
            let ended = member.ended(Duration::from_secs(3600)).await;
            member.release(share);
            ended
        }));
        tokio::task::yield_now().await;
        assert!(crowd.held_bytes.load(Ordering::Relaxed) <= HELD_BYTES + share);
    }
    let ended = connections.iter().filter(|connection| connection.is_finished()).count();
    assert_eq!(ended, 15);
    assert!(connections[..15].iter().all(|each| each.is_finished()), "the longest waiting first");
    assert!(!idle.is_finished(), "it holds nothing");
}

#[tokio::test(start_paused = true)]
async fn nt_03_whoever_makes_the_server_keep_most_goes_first_at_work_or_not() {
    let crowd = Crowd::new(10);
    let small = crowd.admit(PATIENCE).await.unwrap();
    let large = crowd.admit(PATIENCE).await.unwrap();
    large.member().begin_work();
    pass(Duration::from_secs(1)).await;
    assert!(small.member().hold(HELD_BYTES / 8));
    assert!(large.member().hold(HELD_BYTES));
    assert!(large.member().is_leaving() && !small.member().is_leaving());
    pass(Duration::from_secs(1)).await;
    assert!(!small.member().hold(HELD_AT_MOST_BYTES), "until it has gone, there is no room");
}

#[tokio::test(start_paused = true)]
async fn nt_03_a_client_with_few_requests_is_not_refused_for_one_with_many() {
    let crowd = Crowd::new(2);
    let greedy = crowd.admit(PATIENCE).await.unwrap();
    let modest = crowd.admit(PATIENCE).await.unwrap();
    for _ in 0..REQUESTS {
        assert!(greedy.member().begin_request());
    }
    assert!(!greedy.member().begin_request());
    for _ in 0..REQUESTS_FOR_ALL {
        assert!(modest.member().begin_request());
    }
    assert!(!modest.member().begin_request());
    for _ in 0..=REQUESTS {
        greedy.member().end_request();
    }
    assert!(greedy.member().begin_request());
}

#[tokio::test(start_paused = true)]
async fn those_who_leave_already_are_counted_as_room() {
    let crowd = Crowd::new(4);
    let mut places = Vec::new();
    for _ in 0..4 {
        places.push(crowd.admit(PATIENCE).await.unwrap());
    }
    crowd.make_room();
    assert!(places.iter().all(|place| !place.member().is_leaving()), "they have only just come");
    pass(Duration::from_secs(1)).await;
    for _ in 0..10 {
        crowd.make_room();
    }
    let leaving = places.iter().filter(|place| place.member().is_leaving()).count();
    assert_eq!(leaving, 1);
}

#[tokio::test(start_paused = true)]
async fn nt_03_nobody_goes_for_what_others_hold() {
    let crowd = Crowd::new(400);
    let mut idle = Vec::new();
    for _ in 0..300 {
        let place = crowd.admit(PATIENCE).await.unwrap();
        assert!(place.member().hold(100));
        idle.push(place);
    }
    pass(Duration::from_secs(1)).await;
    let greedy = crowd.admit(PATIENCE).await.unwrap();
    // There is room for it until it has gone, and as many as five may be told to go at once.
    assert!(greedy.member().hold(HELD_BYTES));
    assert!(greedy.member().is_leaving());
    assert!(!idle.iter().any(|place| place.member().is_leaving()));
}
