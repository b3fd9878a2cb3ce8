//! What logs serve and what they promise; and the audit log.

use std::convert::Infallible;

use mayfly::{
    audit,
    ct::{
        LeafIndex, MerkleTreeLeaf, SignedCertificateTimestamp, SignedCertificateTimestampList,
        TileLeaves, decode_signature,
    },
    tlog::{Checkpoint, KeyName, Note, ProofPlan, Tile, TileEdge, TreeHeadKey, tiles_for_growth},
};

/// A data tile, or one leaf of the tree.
pub(crate) fn tile(input: &[u8]) -> bool {
    let mut taken_bytes = 0;
    for leaf in TileLeaves::new(input) {
        let Ok(leaf) = leaf else { break };
        let entry = leaf.to_entry().expect("what was decoded has a length that fits");
        let timestamp = leaf.timestamped_entry.timestamp;
        let written = entry.tile_leaf(timestamp, leaf.index);
        assert_eq!(written.len(), entry.tile_leaf_bytes());
        let bytes = &input[taken_bytes..];
        // Extensions that static-ct-api will define some day may stand beside the index.
        if leaf.timestamped_entry.extensions == leaf.index.extension() {
            assert_eq!(bytes.get(..written.len()), Some(&*written));
            taken_bytes += written.len();
        } else {
            let index_bytes = leaf.index.extension().len();
            taken_bytes += written.len() - index_bytes + leaf.timestamped_entry.extensions.len();
        }
        let merkle = leaf.timestamped_entry.merkle_tree_leaf_parts().concat();
        let merkle = MerkleTreeLeaf::decode(&merkle).expect("the leaf of an entry is a leaf");
        assert_eq!(merkle.timestamped_entry, leaf.timestamped_entry);
    }
    assert!(taken_bytes <= input.len());
    if let Ok(leaf) = MerkleTreeLeaf::decode(input) {
        assert_eq!(leaf.timestamped_entry.merkle_tree_leaf_parts().concat(), input);
        return true;
    }
    taken_bytes > 0
}

/// Two sizes of a tree, a number of an entry, and the bytes of its tiles.
pub(crate) fn hash_tiles(input: &[u8]) -> bool {
    let Some((numbers, bytes)) = input.split_first_chunk::<24>() else { return false };
    let (numbers, []) = numbers.as_chunks::<8>() else { return false };
    let [size, old_size, index] = [0, 1, 2].map(|n| u64::from_be_bytes(numbers[n]));
    let served = |tile: &Tile| {
        let tile_bytes = usize::from(tile.width()) * 32;
        Ok::<_, Infallible>(bytes.get(..tile_bytes).unwrap_or(bytes).to_vec())
    };
    for tile in tiles_for_growth(old_size, size).take(64) {
        assert_eq!(tile.to_string().parse(), Ok(tile));
    }
    if let Ok(edge) = TileEdge::load(size, served) {
        assert_eq!(edge.tree().peaks().len(), size.count_ones() as usize);
        let _ = edge.tree().root();
    }
    let mut taken = false;
    let plans = [ProofPlan::inclusion(index, size), ProofPlan::consistency(old_size, size)];
    for plan in plans.into_iter().flatten() {
        // A tile for each of the 64 bits of a size, and another for the edge of each level.
        assert!(plan.tiles().len() <= 128);
        if let Ok(hashes) = plan.hashes(served) {
            assert!(hashes.len() <= 64);
            taken = true;
        }
    }
    taken
}

/// A signed note, which may be a checkpoint.
pub(crate) fn note(input: &[u8]) -> bool {
    let note = match Note::parse(input) {
        Ok(note) => note,
        Err(error) => {
            assert!(error.to_string().len() < 200);
            return false;
        }
    };
    assert_eq!(note.to_string().as_bytes(), input, "a note has one text");
    assert!(note.text().chars().all(|c| c >= ' ' || c == '\n'));
    for line in note.signatures() {
        assert!(!line.signature.is_empty() && KeyName::new(line.name.as_str()).is_ok());
    }
    let Ok(checkpoint) = Checkpoint::parse(note.text()) else { return true };
    assert_eq!(checkpoint.to_string(), note.text(), "a checkpoint has one text");
    let Ok(origin) = KeyName::new(checkpoint.origin()) else { return true };
    let key = TreeHeadKey::new(origin, &[7; 32]);
    let mut shown = None;
    let opened = key.open(input, |_, signature_der| {
        shown = Some(signature_der.to_vec());
        true
    });
    assert!(key.open(input, |_, _| false).is_err());
    if let Ok(head) = opened {
        assert_eq!((head.size, head.root), (checkpoint.size(), checkpoint.root()));
        let sealed = key.seal(&head, &shown.expect("a signature was looked at"));
        let again = key.open(sealed.expect("it fits").to_string().as_bytes(), |_, _| true);
        assert_eq!(again, Ok(head));
    }
    true
}

/// A list of SCTs, an SCT, or the signature in one.
pub(crate) fn sct(input: &[u8]) -> bool {
    let list = SignedCertificateTimestampList::decode(input);
    if let Ok(list) = &list {
        assert!(!list.0.is_empty());
        assert_eq!(list.encode().as_deref(), Ok(input));
    }
    let sct = SignedCertificateTimestamp::decode(input);
    if let Ok(sct) = &sct {
        assert_eq!(sct.encode().as_deref(), Ok(input));
        if let Ok(index) = LeafIndex::from_extensions(&sct.extensions) {
            assert!(index.get() < 1 << 40);
        }
    }
    if let Ok(signature) = decode_signature(input) {
        assert_eq!(signature.len() + 4, input.len());
    }
    if let Ok(index) = LeafIndex::from_extensions(input) {
        assert_eq!(LeafIndex::new(index.get()), Some(index));
    }
    list.is_ok() || sct.is_ok()
}

/// The lines of an audit log.
pub(crate) fn audit(input: &[u8]) -> bool {
    match audit::verify_chain(input) {
        Ok(lines) => {
            assert!(lines <= input.len() as u64);
            true
        }
        Err(error) => {
            assert!(error.to_string().len() < 200);
            false
        }
    }
}
