//! Tiles: where 256 neighbouring hashes, or 256 entries, are kept, and under which path.
//!
//! In: level, index and width, or path text. Out: the other of the two, and which tiles a
//! growth makes. Knows nothing of tile contents.

use std::{fmt, str::FromStr};

/// How many hashes or entries a full tile holds (static-ct-api, "Merkle Tree").
pub const TILE_WIDTH: u16 = 1 << TILE_HEIGHT;

/// The coordinates of a tile. Whatever a `Tile` covers lies within 2^64 leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    kind: TileKind,
    index: u64,
    width: u16,
}

/// What a tile holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileKind {
    /// The entries themselves (`tile/data/`).
    Entries,
    /// Hashes of subtrees of 256^`level` leaves (`tile/<level>/`).
    Hashes {
        /// 0 for leaf hashes.
        level: u8,
    },
}

/// Why the hashes of a tile could not be had.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadTileError<E: std::error::Error + 'static> {
    /// The tile was not there.
    #[error("{tile} could not be read")]
    Read {
        /// Which tile.
        tile: Tile,
        /// What the reader said.
        #[source]
        source: E,
    },
    /// What was there is not that tile.
    #[error("{tile} has {length_bytes} bytes instead of 32 for each hash")]
    Length {
        /// Which tile.
        tile: Tile,
        /// How much there was.
        length_bytes: usize,
    },
}

impl Tile {
    /// A tile of hashes; `None` if the width is not 1 to 256 or it reaches beyond 2^64 leaves.
    pub fn hashes(level: u8, index: u64, width: u16) -> Option<Self> {
        Self::new(TileKind::Hashes { level }, index, width)
    }

    /// A tile of entries; `None` as for [`Tile::hashes`].
    pub fn entries(index: u64, width: u16) -> Option<Self> {
        Self::new(TileKind::Entries, index, width)
    }

    /// What it holds.
    pub const fn kind(&self) -> TileKind {
        self.kind
    }

    /// Its place among the tiles of its kind, from 0.
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// How many hashes or entries it holds: 1 to 256.
    pub const fn width(&self) -> u16 {
        self.width
    }

    /// Whether it is still to grow. A partial tile has no parent yet.
    pub const fn is_partial(&self) -> bool {
        self.width < TILE_WIDTH
    }

    /// The full tile in the same place.
    pub const fn full(self) -> Self {
        Self { width: TILE_WIDTH, ..self }
    }

    /// The entries that belong to a tile of leaf hashes; `None` for a higher level.
    pub fn entries_tile(self) -> Option<Self> {
        let kind = TileKind::Entries;
        (self.level() == 0).then_some(Self { kind, ..self })
    }

    /// The first entry it covers.
    pub const fn first_entry(&self) -> u64 {
        // `new` saw that the tile's last entry fits; its first does as well.
        (self.index << TILE_HEIGHT) << (TILE_HEIGHT * self.level())
    }

    /// The tile of `level` that holds the `nth` hash of that level in a tree of `size` leaves,
    /// which must have that hash.
    pub(super) fn holding(level: u8, nth: u64, size: u64) -> Self {
        let index = nth >> TILE_HEIGHT;
        let width = width_at(index, hashes_in_level(size, level));
        Self { kind: TileKind::Hashes { level }, index, width }
    }

    fn new(kind: TileKind, index: u64, width: u16) -> Option<Self> {
        let tile = Self { kind, index, width };
        if width == 0 || width > TILE_WIDTH || tile.level() > MAX_LEVEL {
            return None;
        }
        let hashes = u128::from(index) * u128::from(TILE_WIDTH) + u128::from(width);
        let leaves = hashes << (TILE_HEIGHT * tile.level());
        (leaves <= 1 << u64::BITS).then_some(tile)
    }

    const fn level(&self) -> u8 {
        match self.kind {
            TileKind::Entries => 0,
            TileKind::Hashes { level } => level,
        }
    }
}

/// The tile's path below the log's prefix, such as `tile/0/x001/x234/067.p/8`.
impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Entries => write!(f, "tile/data/")?,
            TileKind::Hashes { level } => write!(f, "tile/{level}/")?,
        }
        let mut divisor = 1_000_000_000_000_000_000;
        while divisor > 1 {
            if self.index >= divisor {
                write!(f, "x{:03}/", self.index / divisor % 1000)?;
            }
            divisor /= 1000;
        }
        write!(f, "{:03}", self.index % 1000)?;
        if self.is_partial() {
            write!(f, ".p/{}", self.width)?;
        }
        Ok(())
    }
}

/// Reads a path strictly: each tile has exactly one.
impl FromStr for Tile {
    type Err = InvalidTilePath;

    fn from_str(path: &str) -> Result<Self, Self::Err> {
        parse_path(path)
            // One comparison instead of a rule for each superfluous zero, sign or element.
            .filter(|tile| tile.to_string() == path)
            .ok_or_else(|| InvalidTilePath { path: path.chars().take(MAX_PATH_CHARS).collect() })
    }
}

fn parse_path(path: &str) -> Option<Tile> {
    let (kind, place) = path.strip_prefix("tile/")?.split_once('/')?;
    let (index_text, width) = match place.split_once(".p/") {
        Some((index_text, width)) => (index_text, width.parse().ok()?),
        None => (place, TILE_WIDTH),
    };
    let mut index: u64 = 0;
    for element in index_text.split('/') {
        let digits: u64 = element.strip_prefix('x').unwrap_or(element).parse().ok()?;
        index = index.checked_mul(1000)?.checked_add(digits)?;
    }
    match kind {
        "data" => Tile::entries(index, width),
        level => Tile::hashes(level.parse().ok()?, index, width),
    }
}

/// The text is not the path of a tile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{path}' is not a tile path like tile/0/x001/x234/067 or tile/data/000.p/8")]
pub struct InvalidTilePath {
    /// What was given, cut off at a length no tile path has.
    pub path: String,
}

/// The hash tiles that come to be when a tree grows from `old_size` to `new_size`, level by
/// level, left to right: full tiles, and at the end of a level the partial tile of `new_size`.
///
/// The tiles of entries are those of level 0 (see [`Tile::entries_tile`]).
pub fn tiles_for_growth(old_size: u64, new_size: u64) -> impl Iterator<Item = Tile> {
    (0..=MAX_LEVEL)
        .map(move |level| {
            (level, hashes_in_level(old_size, level), hashes_in_level(new_size, level))
        })
        .take_while(|(_, old_hashes, new_hashes)| old_hashes < new_hashes)
        .flat_map(|(level, old_hashes, new_hashes)| {
            (old_hashes >> TILE_HEIGHT..new_hashes.div_ceil(u64::from(TILE_WIDTH)))
                .filter_map(move |index| Tile::hashes(level, index, width_at(index, new_hashes)))
        })
}

/// How many hashes `level` has in a tree of `size` leaves: one for each complete 256^`level`.
pub(super) const fn hashes_in_level(size: u64, level: u8) -> u64 {
    match size.checked_shr(TILE_HEIGHT as u32 * level as u32) {
        Some(hashes) => hashes,
        None => 0,
    }
}

/// The width of the tile at `index` among `hashes_in_level` hashes; zero beyond them.
pub(super) fn width_at(index: u64, hashes_in_level: u64) -> u16 {
    let after_start = hashes_in_level.saturating_sub(index << TILE_HEIGHT);
    u16::try_from(after_start).map_or(TILE_WIDTH, |width| width.min(TILE_WIDTH))
}

/// A tile is a subtree of this height, its hashes the leaves.
pub(super) const TILE_HEIGHT: u8 = 8;

/// 256^8 is 2^64: a tree whose size is a `u64` has no level above this one.
pub(super) const MAX_LEVEL: u8 = 7;

/// Longer than the path of any tile; keeps what a stranger asked for out of long messages.
const MAX_PATH_CHARS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        // static-ct-api, "Merkle Tree": index 1234067 is x001/x234/067.
        let tile = Tile::hashes(0, 1_234_067, 256).unwrap();
        assert_eq!(tile.to_string(), "tile/0/x001/x234/067");
        for path in [
            "tile/0/000",
            "tile/0/999",
            "tile/0/x001/000",
            "tile/0/x001/x234/067.p/8",
            "tile/data/x001/x234/067.p/255",
            "tile/5/000.p/1",
        ] {
            assert_eq!(path.parse::<Tile>().unwrap().to_string(), path);
        }
    }

    #[test]
    fn text_that_is_not_exactly_a_path_is_refused() {
        for path in [
            "",
            "tile",
            "tile/",
            "tile/0",
            "tile/0/",
            "tile/0/0",
            "tile/0/00",
            "tile/0/0000",
            "tile/00/000",
            "tile/+0/000",
            "tile/8/000",
            "tile/255/000",
            "tile/256/000",
            "tile/-1/000",
            "tile/entries/000",
            "tile/0/x000",
            "tile/0/x000/001",
            "tile/0/x000/x001/001",
            "tile/0/001/001",
            "tile/0/x01/001",
            "tile/0/x1000/001",
            "tile/0/x001/+01",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/+1",
            "tile/0/000.p/",
            "tile/0/000.p",
            "tile/0/000.p/1/",
            "/tile/0/000",
            "tile/0/000/",
            "tile/0/000 ",
            "tile/0//000",
            "tile/0/../000",
            "tile/0/٠٠٠",
            "tile/0/x018/x446/x744/x073/x709/x551/616",
            "tile/0/x999/x999/x999/x999/x999/x999/999",
            "tile/7/001",
            "tile/data/x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert!(path.parse::<Tile>().is_err(), "{path}");
        }
    }

    #[test]
    fn an_error_does_not_echo_a_long_path() {
        let error = "x".repeat(10_000).parse::<Tile>().unwrap_err();
        assert!(error.to_string().len() < 200);
    }

    #[test]
    fn a_tree_of_70000_leaves_has_the_tiles_of_the_specification() {
        // static-ct-api, "Partial Tiles".
        let tiles: Vec<Tile> = tiles_for_growth(0, 70_000).collect();
        let of_level = |level| {
            let wanted = TileKind::Hashes { level };
            tiles.iter().filter(move |t| t.kind() == wanted).map(Tile::width).collect::<Vec<_>>()
        };
        assert_eq!(of_level(0), [vec![256; 273], vec![112]].concat());
        assert_eq!(of_level(1), [256, 17]);
        assert_eq!(of_level(2), [1]);
        assert_eq!(tiles.len(), 277);
        let at_256: Vec<String> = tiles_for_growth(0, 256).map(|t| t.to_string()).collect();
        assert_eq!(at_256, ["tile/0/000", "tile/1/000.p/1"]);
    }

    #[test]
    fn growth_makes_only_tiles_that_change() {
        let paths =
            |old, new| tiles_for_growth(old, new).map(|tile| tile.to_string()).collect::<Vec<_>>();
        assert!(paths(0, 0).is_empty());
        assert!(paths(300, 300).is_empty());
        assert!(paths(300, 5).is_empty());
        assert_eq!(paths(3, 5), ["tile/0/000.p/5"]);
        assert_eq!(paths(256, 257), ["tile/0/001.p/1"]);
        assert_eq!(paths(255, 257), ["tile/0/000", "tile/0/001.p/1", "tile/1/000.p/1"]);
        assert_eq!(paths(u64::MAX - 1, u64::MAX).len(), 1);
    }

    #[test]
    fn tiles_beyond_the_largest_tree_do_not_exist() {
        assert!(Tile::hashes(7, 0, 256).is_some());
        assert!(Tile::hashes(7, 1, 1).is_none());
        assert!(Tile::hashes(0, u64::MAX >> 8, 256).is_some());
        assert!(Tile::hashes(0, (u64::MAX >> 8) + 1, 1).is_none());
        assert!(Tile::hashes(8, 0, 1).is_none());
        assert!(Tile::entries(0, 0).is_none());
        assert!(Tile::entries(0, 257).is_none());
    }

    #[test]
    fn a_tile_knows_its_entries() {
        let tile = Tile::hashes(1, 2, 7).unwrap();
        assert_eq!(tile.first_entry(), 2 << 16);
        assert_eq!(tile.entries_tile(), None);
        assert!(tile.is_partial() && !tile.full().is_partial());
        let leaves = Tile::hashes(0, 3, 5).unwrap();
        assert_eq!(leaves.entries_tile().unwrap().to_string(), "tile/data/003.p/5");
    }
}
