use super::*;
use crate::telemetry::scrape::Scrape;

const NOW_UNIX_SECONDS: u64 = 1_795_132_800;
const ROUTES: [&str; 2] = ["/a", "/b"];

fn text(metrics: &Metrics) -> String {
    String::from_utf8(Scrape::default().text(metrics).unwrap()).unwrap()
}

/// Every line that names a series, without its value.
fn series(metrics: &Metrics) -> Vec<String> {
    let text = text(metrics);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
}

#[test]
fn upstreams_counter_has_its_very_name_and_type() {
    let metrics = Metrics::new();
    let issuers = metrics.issuers([("https://a.example.com", "email")]);
    let counter = issuers.certificates("https://a.example.com", KeyKind::Ed25519).unwrap();
    metrics.issued(counter);
    let text = text(&metrics);
    assert!(text.contains("# TYPE fulcio_new_certs counter\nfulcio_new_certs 1\n"), "{text}");
    let ours = "mayfly_certificates_issued_total{issuer=\"https://a.example.com\",\
                issuer_type=\"email\",key=\"ed25519\"} 1\n";
    assert!(text.contains(ours), "{text}");
}

#[test]
fn upstreams_latency_has_its_labels_and_buckets() {
    let metrics = Metrics::new();
    let times = metrics.routes(&ROUTES);
    times.answered_http("POST", 201, Duration::from_millis(7));
    let text = text(&metrics);
    assert!(text.contains("# TYPE fulcio_api_latency histogram\n"), "{text}");
    for (bound, count) in [("0.005", 0), ("0.01", 1), ("10", 1), ("+Inf", 1)] {
        let line = format!(
            "fulcio_api_latency_bucket{{code=\"201\",method=\"post\",le=\"{bound}\"}} {count}\n"
        );
        assert!(text.contains(&line), "{line}{text}");
    }
}

#[test]
fn nt_61_methods_codes_and_routes_of_strangers_are_others() {
    let metrics = Metrics::new();
    let times = metrics.routes(&ROUTES);
    times.answered(Some("/a"), 200, Duration::ZERO);
    times.answered_http("PROPFIND", 418, Duration::ZERO);
    let before = series(&metrics);
    for number in 0..5000_u16 {
        let text = format!("/a/{number}");
        times.answered(Some(&text), number, Duration::ZERO);
        times.answered(None, number, Duration::ZERO);
        times.answered_http(&text, 700 + number, Duration::ZERO);
    }
    assert_eq!(series(&metrics), before);
    let text = text(&metrics);
    assert!(text.contains("fulcio_api_latency_count{code=\"other\",method=\"unknown\"} 5001\n"));
}

#[test]
fn nt_61_every_label_is_of_a_closed_set() {
    let metrics = Metrics::new();
    let issuers = metrics.issuers([("https://a.example.com", "email")]);
    let times = metrics.routes(&ROUTES);
    for key in KeyKind::ALL {
        metrics.issued(issuers.certificates("https://a.example.com", key).unwrap());
    }
    for step in Step::ALL {
        metrics.took(step, Duration::ZERO);
    }
    metrics.refused("token", issuers.label(Some("https://a.example.com")));
    metrics.refused("token", issuers.label(Some("https://evil.example.com")));
    metrics.refused("token", issuers.label(None));
    for number in 0..MAX_KEYS + 5 {
        let key = metrics.key(&format!("pkcs11:object={number}"));
        for result in CallResult::ALL {
            key.called(result, Duration::ZERO);
        }
    }
    for (method, _) in METHODS {
        for (code, _) in CODES {
            times.answered(Some("/b"), code, Duration::ZERO);
            times.answered_http(method, code, Duration::ZERO);
        }
    }
    let issuer_names = ["https://a.example.com", OTHER];
    let keys = KeyKind::ALL.map(KeyKind::as_str);
    let own_keys: HashSet<String> =
        (0..MAX_KEYS).map(|number| format!("pkcs11:object={number}")).collect();
    let results = CallResult::ALL.map(CallResult::as_str);
    let steps = Step::ALL.map(Step::as_str);
    let (methods, codes) = (METHODS.map(|one| one.1), CODES.map(|one| one.1));
    for family in metrics.gather() {
        for metric in family.get_metric() {
            for label in metric.get_label() {
                let (name, value) = (label.name(), label.value());
                let known = match (family.name(), name) {
                    (_, "issuer") => issuer_names.contains(&value),
                    (_, "issuer_type") => value == "email",
                    (family, "key") if family.starts_with("mayfly_key_") => {
                        own_keys.contains(value) || value == OTHER
                    }
                    ("mayfly_key_calls_total", "result") => results.contains(&value),
                    (_, "key") => keys.contains(&value),
                    (_, "stage") => steps.contains(&value),
                    (_, "reason") => value == "token",
                    (_, "route") => ROUTES.contains(&value) || value == OTHER,
                    (_, "result") => ["ok", "refused"].contains(&value),
                    ("fulcio_api_latency", "code") => codes.contains(&value),
                    (_, "code") => STATUS_CLASSES.contains(&value),
                    (_, "method") => methods.contains(&value),
                    _ => false,
                };
                assert!(known, "{}: {name}={value}", family.name());
            }
        }
    }
}

#[test]
fn nt_61_reloads_lose_no_counter_and_add_no_series_without_end() {
    let metrics = Metrics::new();
    let first = metrics.issuers([("https://first.example.com", "email")]);
    metrics.issued(first.certificates("https://first.example.com", KeyKind::EcdsaP256).unwrap());
    for number in 0..MAX_ISSUERS + 50 {
        let name = format!("https://{number}.example.com");
        let issuers = metrics.issuers([(name.as_str(), "email")]);
        metrics.issued(issuers.certificates(&name, KeyKind::EcdsaP256).unwrap());
    }
    let all = series(&metrics);
    let of_issuers = all.iter().filter(|line| line.starts_with("mayfly_certificates_issued_total"));
    assert_eq!(of_issuers.count(), (MAX_ISSUERS + 1) * KeyKind::ALL.len());
    let again = metrics.issuers([("https://first.example.com", "email")]);
    metrics.issued(again.certificates("https://first.example.com", KeyKind::EcdsaP256).unwrap());
    let text = text(&metrics);
    let count = |issuer: &str| {
        let line = format!(
            "mayfly_certificates_issued_total{{issuer=\"{issuer}\",issuer_type=\"email\",\
             key=\"ecdsa-p256\"}} "
        );
        text.lines().find_map(|each| each.strip_prefix(&line)).unwrap().to_owned()
    };
    assert_eq!(count("https://first.example.com"), "2");
    assert_eq!(count(OTHER), "51", "first and 999 others had room");
}

#[test]
fn the_order_of_kinds_and_steps_is_that_of_their_declaration() {
    for (position, key) in KeyKind::ALL.into_iter().enumerate() {
        assert_eq!(key as usize, position);
    }
    for (position, result) in CallResult::ALL.into_iter().enumerate() {
        assert_eq!(result as usize, position);
    }
    for (position, step) in Step::ALL.into_iter().enumerate() {
        assert_eq!(step as usize, position);
    }
}

#[test]
fn a_refused_reload_alarms_until_the_next_good_one() {
    let metrics = Metrics::new();
    let alarm = |metrics: &Metrics| {
        let text = text(metrics);
        let name = "mayfly_config_last_reload_successful ";
        text.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned()
    };
    assert_eq!(alarm(&metrics), "1");
    metrics.reloaded(NOW_UNIX_SECONDS, false);
    assert_eq!(alarm(&metrics), "0");
    metrics.reloaded(NOW_UNIX_SECONDS, true);
    assert_eq!(alarm(&metrics), "1");
    let text = text(&metrics);
    for line in [
        "mayfly_config_reloads_total{result=\"ok\"} 1",
        "mayfly_config_reloads_total{result=\"refused\"} 1",
        "mayfly_config_last_reload_success_timestamp_seconds 1795132800",
    ] {
        assert!(text.lines().any(|each| each == line), "{line}: {text}");
    }
}

#[test]
fn the_process_tells_what_it_uses() {
    let text = Scrape::of_this_process().unwrap().text(&Metrics::new()).unwrap();
    let text = String::from_utf8(text).unwrap();
    let value = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        line.split_once(' ').unwrap().1.parse().unwrap()
    };
    assert!(value("process_resident_memory_bytes") > 1e6);
    assert!(value("process_start_time_seconds") > 1.7e9);
    assert!(value("process_open_fds") <= value("process_max_fds"));
    assert!(text.contains("# TYPE process_cpu_seconds_total counter\n"));
}
