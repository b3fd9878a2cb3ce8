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
    for _ in 0..REQUESTS / 2 {
        assert!(modest.member().begin_request());
    }
    assert!(!modest.member().begin_request(), "its fair share is half of them");
    for _ in 0..=REQUESTS {
        greedy.member().end_request();
    }
    for _ in 0..=REQUESTS / 2 {
        modest.member().end_request();
    }
    assert!(greedy.member().begin_request());
    assert_eq!(crowd.asking.load(Ordering::Relaxed), 1);
}

/// 18 attackers with as many requests as HTTP/2 lets them have, and one proxy.
#[tokio::test(start_paused = true)]
async fn nt_03_a_busy_proxy_gets_the_share_that_those_leave_who_ask_for_most() {
    let crowd = Crowd::new(20);
    for _ in 0..18 {
        let place = crowd.admit(PATIENCE).await.unwrap();
        let begun = (0..128).filter(|_| place.member().begin_request()).count();
        assert!(begun > 64, "{begun}");
    }
    let proxy = crowd.admit(PATIENCE).await.unwrap();
    let begun = (0..100).filter(|_| proxy.member().begin_request()).count();
    assert_eq!(begun, 100);
}

#[tokio::test(start_paused = true)]
async fn nt_03_a_proxy_that_takes_its_answers_stays_when_those_go_who_take_none() {
    let crowd = Crowd::new(200);
    let mut attackers = Vec::new();
    for _ in 0..100 {
        attackers.push(crowd.admit(PATIENCE).await.unwrap());
    }
    let proxy = crowd.admit(PATIENCE).await.unwrap();
    pass(Duration::from_secs(1)).await;
    assert!(proxy.member().hold(HELD_BYTES / 4));
    proxy.member().took();
    for attacker in &attackers {
        attacker.member().hold(HELD_BYTES / 100);
    }
    let leaving = attackers.iter().filter(|place| place.member().is_leaving()).count();
    assert!(leaving > 0, "there is not enough room for all");
    assert!(!proxy.member().is_leaving());
}

/// Nor does it help to take a little now and then: a newcomer's request is worth more.
#[tokio::test(start_paused = true)]
async fn nt_03_a_newcomer_stays_when_those_go_who_take_slowly() {
    let crowd = Crowd::new(2000);
    let mut attackers = Vec::new();
    for _ in 0..1000 {
        attackers.push(crowd.admit(PATIENCE).await.unwrap());
    }
    pass(Duration::from_secs(1)).await;
    let newcomer = crowd.admit(PATIENCE).await.unwrap();
    assert!(newcomer.member().hold(9000));
    for attacker in &attackers {
        attacker.member().took();
        attacker.member().hold(HELD_BYTES / 999);
    }
    assert!(attackers.iter().any(|place| place.member().is_leaving()));
    assert!(!newcomer.member().is_leaving());
}

/// A full tile has 320 KB, which its reader has not begun to take when it is held for it.
#[tokio::test(start_paused = true)]
async fn nt_03_a_large_answer_stays_when_those_go_who_keep_many_and_take_slowly() {
    const TILE_BYTES: usize = 320 << 10;
    let crowd = Crowd::new(2000);
    let mut attackers = Vec::new();
    for _ in 0..10 {
        let attacker = crowd.admit(PATIENCE).await.unwrap();
        attacker.member().begins_to_take();
        assert!(attacker.member().hold(15 * TILE_BYTES));
        attackers.push(attacker);
    }
    pass(Duration::from_secs(1)).await;
    for attacker in &attackers {
        attacker.member().took();
    }
    let honest = crowd.admit(PATIENCE).await.unwrap();
    honest.member().begins_to_take();
    while !attackers.iter().any(|place| place.member().is_leaving()) {
        pass(Duration::from_millis(5)).await;
        honest.member().hold(TILE_BYTES);
        assert!(!honest.member().is_leaving());
        if attackers.iter().all(|place| !place.member().is_leaving()) {
            honest.member().release(TILE_BYTES);
            attackers[0].member().hold(TILE_BYTES);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nt_03_newcomers_are_met_at_a_pace_once_many_were_found_out() {
    let crowd = Crowd::new(2);
    let place = crowd.admit(PATIENCE).await.unwrap();
    let began = Instant::now();
    for _ in 0..NUISANCES {
        crowd.may_come().await;
        place.member().found_out();
    }
    assert_eq!(began.elapsed(), Duration::ZERO, "a few are nothing");
    for _ in 0..NUISANCES_A_SECOND {
        crowd.may_come().await;
        place.member().found_out();
    }
    let lasted = began.elapsed();
    assert!(lasted > Duration::from_millis(900), "{lasted:?}");
    assert!(lasted < Duration::from_millis(1100), "{lasted:?}");
    pass(Duration::from_secs(1)).await;
    let began = Instant::now();
    crowd.may_come().await;
    assert_eq!(began.elapsed(), Duration::ZERO);
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
