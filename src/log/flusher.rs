//! Full tiles, from memory to the store.
//!
//! In: a word from the sequencer that there are some. Out: tiles that were flushed, batches
//! dropped, memory freed. Knows nothing of entries and keys. Never on the way of a submission:
//! tiles are derived from commits, and whatever a crash leaves undone is done again.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{StopReason, core::Core, tiles::Object};
use crate::tlog::{TILE_WIDTH, TileKind};

/// Flushes whenever told, and once more when the sequencer has ended. After an error the log has
/// stopped, and it only waits for that end.
pub(super) async fn run(core: Arc<Core>, mut full_tiles: mpsc::Receiver<()>) {
    loop {
        let sequencer_runs = full_tiles.recv().await.is_some();
        if core.stop.reason().is_none()
            && let Err(reason) = flush(&core).await
        {
            core.stop.stop(reason);
        }
        if !sequencer_runs {
            break;
        }
    }
}

async fn flush(core: &Core) -> Result<(), StopReason> {
    let unflushed = core.tail().unflushed();
    let mut below = None;
    for (tile, bytes) in &unflushed {
        let created = core.storage.tiles.create(Object::Tile(*tile), bytes.clone()).await;
        created.map_err(StopReason::Tiles)?;
        if tile.kind() == TileKind::Entries {
            below = Some((tile.index() + 1) * u64::from(TILE_WIDTH));
        }
    }
    if let Some(below) = below {
        // Only now: until all tiles are durable the batches are the only copy.
        let dropped = core.storage.coordinator.drop_batches(below).await;
        dropped.map_err(StopReason::Coordinator)?;
    }
    core.tail_mut().forget(&unflushed);
    core.tell_flushed();
    Ok(())
}
