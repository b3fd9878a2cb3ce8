//! The log as its readers see it (static-ct-api, "Monitoring APIs").
//!
//! In: a path below the log's prefix. Out: bytes and how to serve them. Knows nothing of HTTP.
//! What is committed is there at once: what has no tile yet comes from memory.

use std::str::FromStr;

use bytes::Bytes;

use super::{
    core::Core,
    entries::end_of_entry,
    sha256,
    tiles::{Object, TileStoreError},
};
use crate::tlog::{Hash, Tile, TileKind};

/// What stands under a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadAnswer {
    /// The whole body.
    pub bytes: Bytes,
    /// What it is.
    pub kind: ContentKind,
    /// Whether the path will have these bytes for ever, so that caches may keep them.
    pub immutable: bool,
}

/// The kinds of content a log has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentKind {
    /// The signed note.
    Checkpoint,
    /// Hashes or entries.
    Tile,
    /// A certificate in DER.
    Issuer,
}

impl ContentKind {
    /// The `Content-Type` that static-ct-api gives it.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Checkpoint => "text/plain; charset=utf-8",
            Self::Tile => "application/octet-stream",
            Self::Issuer => "application/pkix-cert",
        }
    }
}

/// Why a path that may have something under it could not be answered.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store failed.
    #[error("the tile store failed")]
    Tiles(#[from] TileStoreError),
    /// The stored tile is not what was written.
    #[error("{object}: damaged")]
    Damaged {
        /// Which tile.
        object: String,
    },
}

/// `None` where the path is not one of a log, or nothing is there.
pub(super) async fn read(core: &Core, path: &str) -> Result<Option<ReadAnswer>, ReadError> {
    match path.parse() {
        Ok(LogPath::Checkpoint) => {
            let bytes = core.tail().head().checkpoint.clone();
            Ok(Some(ReadAnswer { bytes, kind: ContentKind::Checkpoint, immutable: false }))
        }
        Ok(LogPath::Tile(tile)) => {
            let answer = |bytes| ReadAnswer { bytes, kind: ContentKind::Tile, immutable: true };
            Ok(read_tile(core, tile).await?.map(answer))
        }
        Ok(LogPath::Issuer(fingerprint)) => {
            let answer = |bytes| ReadAnswer { bytes, kind: ContentKind::Issuer, immutable: true };
            let found = core.storage.tiles.read(Object::Issuer(fingerprint)).await?;
            if found.as_ref().is_some_and(|der| sha256(der) != fingerprint) {
                return Err(ReadError::Damaged { object: path.to_owned() });
            }
            Ok(found.map(answer))
        }
        Err(NotALogPath) => Ok(None),
    }
}

/// A partial tile is the beginning of the full one, so that a reader who comes late with the size
/// of an older checkpoint is served as well.
async fn read_tile(core: &Core, tile: Tile) -> Result<Option<Bytes>, ReadError> {
    let in_memory = {
        let tail = core.tail();
        if let Some(bytes) = tail.partial(tile) {
            return Ok(Some(bytes));
        }
        tail.full(tile.full())
    };
    // Memory first: a tile leaves memory only when the store has it.
    let full = match in_memory {
        Some(bytes) => Some(bytes),
        None => core.storage.tiles.read(Object::Tile(tile.full())).await?,
    };
    let Some(full) = full else { return Ok(None) };
    let damaged = || ReadError::Damaged { object: tile.full().to_string() };
    let end = end_of_width(&full, tile).ok_or_else(damaged)?;
    // A tile that was cut off must not go into a cache that keeps it for ever.
    if !tile.is_partial() && end != full.len() {
        return Err(damaged());
    }
    Ok(Some(full.slice(..end)))
}

/// Where the hashes or entries of `tile` end in the full tile; `None` if that has fewer.
fn end_of_width(full: &[u8], tile: Tile) -> Option<usize> {
    let width = usize::from(tile.width());
    match tile.kind() {
        TileKind::Hashes { .. } => Some(width * Hash::LEN_BYTES).filter(|end| *end <= full.len()),
        TileKind::Entries => end_of_entry(full, width),
    }
}

/// The paths of a log. Made from numbers and hex only: no text of a stranger names a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LogPath {
    Checkpoint,
    Tile(Tile),
    Issuer([u8; 32]),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NotALogPath;

impl FromStr for LogPath {
    type Err = NotALogPath;

    fn from_str(path: &str) -> Result<Self, NotALogPath> {
        if path == "checkpoint" {
            return Ok(Self::Checkpoint);
        }
        if let Some(text) = path.strip_prefix("issuer/") {
            let mut fingerprint = [0; 32];
            hex::decode_to_slice(text, &mut fingerprint).map_err(|_| NotALogPath)?;
            // `hex` takes capitals too; each certificate has one path.
            let is_canonical = hex::encode(fingerprint) == text;
            return is_canonical.then_some(Self::Issuer(fingerprint)).ok_or(NotALogPath);
        }
        path.parse().map(Self::Tile).map_err(|_| NotALogPath)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nt_62_no_path_leaves_the_log() {
        let hex_path = format!("issuer/{}", "ab".repeat(32));
        assert_eq!(hex_path.parse(), Ok(LogPath::Issuer([0xab; 32])));
        for path in [
            "",
            "/checkpoint",
            "checkpoint/",
            "log-instance",
            "tmp/0",
            "issuer/",
            "issuer/../log-instance",
            "issuer/ab",
            "tile/../log-instance",
            "tile/0/../../log-instance",
            "tile/data/..",
            "tile/0/%2e%2e",
            "tile/0/000\0",
            &hex_path.to_uppercase(),
            &format!("issuer/{}", "AB".repeat(32)),
            "tile/0/000.p/0",
            "tile/0/000.p/01",
            "tile/0/000.p/256",
            "tile/0/x001/000.p/256",
            "tile/0/001/000",
            "tile/0/x000/000",
            "tile/8/000",
            "tile/08/000",
            "tile/0/000?x",
            "tile/entries/000",
            "tile/data/000/",
            "tile/0/x999/x999/x999/x999/x999/x999/999",
            "tile/0/٠٠٠",
            "tile/DATA/000",
            &format!("issuer/{}/", "ab".repeat(32)),
            &format!("issuer/{}", "ab".repeat(33)),
        ] {
            assert_eq!(path.parse::<LogPath>(), Err(NotALogPath), "{path}");
        }
    }
}
