//! Tiles: paths, growth, contents, and the start from stored tiles.

use std::{collections::BTreeSet, convert::Infallible};

use mayfly::tlog::{
    Hash, ReadTileError, TILE_WIDTH, Tile, TileEdge, TileKind, Tree, leaf_hash, tiles_for_growth,
};
use proptest::prelude::*;

use crate::rfc6962::{leaf, leaves, mth};

/// `tlog_tiles` writes the tile height into the path, as Go's checksum database does.
fn foreign_path(tile: &tlog_tiles::Tile) -> String {
    tile.path().replacen("tile/8/", "tile/", 1)
}

fn foreign(tile: &Tile) -> tlog_tiles::Tile {
    let (level, is_entries) = match tile.kind() {
        TileKind::Entries => (0, true),
        TileKind::Hashes { level } => (level, false),
    };
    tlog_tiles::Tile::new(8, level, tile.index(), tile.width().into(), is_entries)
}

fn any_tile() -> impl Strategy<Value = Tile> {
    let kind = prop::option::of(0_u8..6);
    (kind, 0_u64..1 << 34, 1..=TILE_WIDTH).prop_filter_map("beyond 2^64", |(kind, index, width)| {
        match kind {
            None => Tile::entries(index, width),
            Some(level) => Tile::hashes(level, index >> (level * 6), width),
        }
    })
}

fn leaf_hashes(from: u64, to: u64) -> Vec<Hash> {
    (from..to).map(|i| leaf_hash(&leaf(i))).collect()
}

proptest! {
    #[test]
    fn paths_are_those_of_tlog_tiles_and_read_back(tile in any_tile()) {
        let path = tile.to_string();
        prop_assert_eq!(&path, &foreign_path(&foreign(&tile)));
        prop_assert_eq!(path.parse::<Tile>(), Ok(tile));
    }

    #[test]
    fn reading_a_path_never_panics_and_what_is_read_is_canonical(
        path in r"(tile/)?([0-9]{1,3}|data)/(x?[0-9]{2,4}/){0,7}[0-9]{1,4}(\.p/?[0-9]{0,4})?|\PC*",
    ) {
        if let Ok(tile) = path.parse::<Tile>() {
            prop_assert_eq!(tile.to_string(), path);
        }
    }

    #[test]
    fn a_growth_makes_the_tiles_of_tlog_tiles(old in 0_u64..200_000, grown in 0_u64..200_000) {
        let ours: BTreeSet<String> =
            tiles_for_growth(old, old + grown).map(|tile| tile.to_string()).collect();
        let theirs = tlog_tiles::Tile::new_tiles(8, old, old + grown);
        prop_assert_eq!(ours, theirs.iter().map(foreign_path).collect());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn grown_tiles_hold_the_hashes_the_specification_names(
        steps in prop::collection::vec(0_u64..700, 1..5),
    ) {
        let mut edge = TileEdge::new();
        for step in steps {
            let (old, new) = (edge.size(), edge.size() + step);
            let made = edge.grow(&leaf_hashes(old, new));
            let named: BTreeSet<Tile> = tiles_for_growth(old, new).collect();
            prop_assert_eq!(made.len(), named.len());
            prop_assert_eq!(made.iter().map(|one| one.tile).collect::<BTreeSet<_>>(), named);
            for one in &made {
                prop_assert_eq!(&one.bytes, &specified_bytes(&one.tile, new));
            }
        }
    }

    #[test]
    fn a_log_starts_again_from_its_partial_tiles(size in 0_u64..150_000, more in 1_u64..600) {
        let mut edge = TileEdge::new();
        let mut stored = std::collections::HashMap::new();
        for made in edge.grow(&leaf_hashes(0, size)) {
            stored.insert(made.tile, made.bytes);
        }
        let mut read = Vec::new();
        let mut loaded = TileEdge::load(size, |tile| {
            read.push(*tile);
            Ok::<_, Infallible>(&stored[tile])
        })
        .unwrap();
        prop_assert!(read.len() <= 3 && read.iter().all(Tile::is_partial));
        prop_assert_eq!(read, TileEdge::tiles(size).collect::<Vec<_>>());
        prop_assert_eq!(&loaded, &edge);
        prop_assert_eq!(loaded.tree(), leaf_hashes(0, size).into_iter().collect::<Tree>());
        let next = leaf_hashes(size, size + more);
        prop_assert_eq!(loaded.grow(&next), edge.grow(&next));
    }
}

/// static-ct-api, "Merkle Tree": MTH(D[(n * 256 + i) * 256**l : (n * 256 + i + 1) * 256**l]).
fn specified_bytes(tile: &Tile, size: u64) -> Vec<u8> {
    let TileKind::Hashes { level } = tile.kind() else {
        return Vec::new();
    };
    let d = leaves(size);
    let span = 256_usize.pow(level.into());
    let first = usize::try_from(tile.index()).unwrap() * 256;
    (first..first + usize::from(tile.width()))
        .flat_map(|i| *mth(&d[i * span..(i + 1) * span]).as_bytes())
        .collect()
}

#[test]
fn a_stored_tile_of_the_wrong_length_stops_the_start() {
    let tile = Tile::hashes(0, 1, 4).unwrap();
    for length_bytes in [0, 31, 127, 129, 256 * 32] {
        let loaded = TileEdge::load(260, |wanted| {
            let right = usize::from(wanted.width()) * 32;
            Ok::<_, Infallible>(vec![7; if *wanted == tile { length_bytes } else { right }])
        });
        let Err(ReadTileError::Length { tile: named, .. }) = loaded else {
            panic!("{length_bytes} bytes were taken for four hashes");
        };
        assert_eq!(named, tile);
    }
    let unread = TileEdge::load(260, |_| Err::<Vec<u8>, _>(std::fmt::Error));
    assert!(matches!(unread, Err(ReadTileError::Read { .. })));
}

#[test]
fn a_stored_tile_with_other_bytes_gives_another_root() {
    let mut edge = TileEdge::new();
    let made = edge.grow(&leaf_hashes(0, 100));
    let mut bytes = made[0].bytes.clone();
    bytes[5] ^= 1;
    let loaded = TileEdge::load(100, |_| Ok::<_, Infallible>(&bytes)).unwrap();
    assert_ne!(loaded.tree().root(), edge.tree().root());
}
