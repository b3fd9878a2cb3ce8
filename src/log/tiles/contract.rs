//! The contract of [`TileStore`], for every implementation.

use super::{fs::FsTiles, *};
use crate::{log::tests::doubles::MemoryTiles, tlog::Tile};

fn objects() -> [Object; 4] {
    [
        Object::Tile(Tile::entries(1_234_067, 256).unwrap()),
        Object::Tile(Tile::hashes(0, 1_234_067, 256).unwrap()),
        Object::Issuer([0xab; 32]),
        Object::Instance,
    ]
}

async fn holds(store: &dyn TileStore) {
    for object in objects() {
        assert_eq!(store.read(object).await.unwrap(), None);
        let bytes = Bytes::from(format!("{object} for the first time"));
        store.create(object, bytes.clone()).await.unwrap();
        store.create(object, bytes.clone()).await.unwrap();
        for other in ["", "other", &format!("{object} for the second time")] {
            let other = store.create(object, Bytes::copy_from_slice(other.as_bytes())).await;
            assert!(matches!(other, Err(TileStoreError::Differs { .. })), "{other:?}");
        }
        assert_eq!(store.read(object).await.unwrap(), Some(bytes));
    }
    let object = Object::Issuer([1; 32]);
    let race = futures_util::future::join(
        store.create(object, Bytes::from_static(b"one")),
        store.create(object, Bytes::from_static(b"two")),
    );
    let (one, two) = race.await;
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    let winner: &[u8] = if one.is_ok() { b"one" } else { b"two" };
    assert_eq!(store.read(object).await.unwrap().as_deref(), Some(winner));
}

#[tokio::test]
async fn the_double_keeps_the_contract() {
    holds(&MemoryTiles::default()).await;
}

#[tokio::test]
async fn files_keep_the_contract_and_survive_a_new_start() {
    let directory = tempfile::tempdir().unwrap();
    holds(&FsTiles::open(directory.path()).unwrap()).await;
    let tile = directory.path().join("tile/data/x001/x234/067");
    assert!(tile.is_file());
    let temporary = directory.path().join("tmp");
    std::fs::write(temporary.join("0"), "left by a crash").unwrap();
    let again = FsTiles::open(directory.path()).unwrap();
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0);
    for object in objects() {
        assert!(again.read(object).await.unwrap().is_some());
        let bytes = Bytes::from(format!("{object} for the first time"));
        again.create(object, bytes).await.unwrap();
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_an_error_and_not_an_absence() {
    let directory = tempfile::tempdir().unwrap();
    let store = FsTiles::open(directory.path()).unwrap();
    std::fs::create_dir(directory.path().join("log-instance")).unwrap();
    let read = store.read(Object::Instance).await;
    assert!(matches!(read, Err(TileStoreError::Storage { .. })), "{read:?}");
}
