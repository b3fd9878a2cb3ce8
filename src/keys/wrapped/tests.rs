use super::*;

fn opened(uri: &str, passphrase: Option<&Secret>) -> String {
    let uri: WrappedUri = uri.strip_prefix("wrapped:").unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(open(&uri, passphrase)).unwrap_err().to_string()
}

#[test]
fn a_passphrase_is_refused_before_anything_is_asked() {
    let uri = "wrapped:/nowhere/ca.wrapped?kek=awskms:///alias/kek";
    let error = opened(uri, Some(&Secret::from("hunter22".to_owned())));
    let start = "key wrapped:/nowhere/ca.wrapped?kek=awskms:///alias/kek: a passphrase is";
    assert!(error.starts_with(start), "{error}");
    assert!(!error.contains("hunter22"));
}

#[test]
fn what_seals_a_file_shows_nothing_of_itself() {
    let random = SealingRandom::new([0xa7; SealingRandom::BYTES]);
    assert_eq!(random.data_key.expose(), [0xa7; DATA_KEY_BYTES]);
    assert!(format!("{random:?}").contains("Secret(..)"));
}
