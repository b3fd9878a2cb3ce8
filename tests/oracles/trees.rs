//! Roots and proofs.

use std::{collections::HashMap, convert::Infallible};

use ct_merkle::{ConsistencyProof, InclusionProof, RootHash, mem_backed_tree::MemoryBackedTree};
use mayfly::tlog::{
    Hash, ProofPlan, ReadTileError, Tile, TileEdge, Tree, VerifyProofError, leaf_hash,
    verify_consistency, verify_inclusion,
};
use proptest::prelude::*;
use sha2::Sha256;

use crate::rfc6962::{leaf, leaves, mth, path, proof};

/// All tiles of a tree that grew leaf by leaf, partial ones of each size among them.
struct Tiles(HashMap<Tile, Vec<u8>>);

impl Tiles {
    fn of(size: u64) -> Self {
        let mut edge = TileEdge::new();
        let mut tiles = HashMap::new();
        for i in 0..size {
            for made in edge.grow(&[leaf_hash(&leaf(i))]) {
                tiles.insert(made.tile, made.bytes);
            }
        }
        Self(tiles)
    }

    fn hashes(&self, plan: &ProofPlan) -> Vec<Hash> {
        let fetched: HashMap<Tile, &[u8]> =
            plan.tiles().into_iter().map(|tile| (tile, self.0[&tile].as_slice())).collect();
        plan.hashes(|tile| Ok::<_, Infallible>(fetched[tile])).unwrap()
    }
}

#[test]
fn roots_are_those_of_the_recursive_definition() {
    let mut tree = Tree::new();
    for size in 0..300 {
        assert_eq!(tree.size(), size);
        assert_eq!(tree.root(), mth(&leaves(size)), "{size}");
        tree.append(leaf_hash(&leaf(size)));
    }
}

#[test]
fn proofs_of_all_small_trees_are_those_of_the_recursive_definition() {
    let tiles = Tiles::of(70);
    for size in 1..70 {
        let d = leaves(size);
        for m in 0..size {
            let place = usize::try_from(m).unwrap();
            let audit_path = tiles.hashes(&ProofPlan::inclusion(m, size).unwrap());
            assert_eq!(audit_path, path(place, &d), "PATH({m}, D[{size}])");
            let old_size = m + 1;
            let consistency = tiles.hashes(&ProofPlan::consistency(old_size, size).unwrap());
            assert_eq!(consistency, proof(place + 1, &d), "PROOF({old_size}, D[{size}])");
        }
    }
}

/// RFC 9162, 2.1.5 has the same tree, the same names of nodes and the same proofs: what is shown
/// here for RFC 6962, 2.1.3 is shown for both.
#[test]
fn proofs_of_the_seven_leaf_tree_are_those_of_rfc_6962_2_1_3_and_rfc_9162_2_1_5() {
    let d = leaves(7);
    let node = |from: usize, to: usize| mth(&d[from..to]);
    let [b, c, d3, f] = [node(1, 2), node(2, 3), node(3, 4), node(5, 6)];
    let [g, h, i, j] = [node(0, 2), node(2, 4), node(4, 6), node(6, 7)];
    let [k, l] = [node(0, 4), node(4, 7)];
    let tiles = Tiles::of(7);
    let audit_path = |m| tiles.hashes(&ProofPlan::inclusion(m, 7).unwrap());
    assert_eq!(audit_path(0), [b, h, l]);
    assert_eq!(audit_path(3), [c, g, l]);
    assert_eq!(audit_path(4), [f, j, k]);
    assert_eq!(audit_path(6), [i, k]);
    let consistency = |m| tiles.hashes(&ProofPlan::consistency(m, 7).unwrap());
    assert_eq!(consistency(3), [c, d3, g, l]);
    assert_eq!(consistency(4), [l]);
    assert_eq!(consistency(6), [i, j, k]);
}

#[test]
fn proofs_that_reach_into_the_third_tile_level_verify() {
    let (old_size, size) = (65_535 + 300, 2 * 65_536 + 515);
    let mut edge = TileEdge::new();
    let mut tiles = HashMap::new();
    let mut tree = Tree::new();
    for (from, to) in [(0, old_size), (old_size, size)] {
        let grown: Vec<Hash> = (from..to).map(|i| leaf_hash(&leaf(i))).collect();
        tiles.extend(edge.grow(&grown).into_iter().map(|made| (made.tile, made.bytes)));
        tree.extend(grown);
    }
    let tiles = Tiles(tiles);
    let root = tree.root();
    assert_eq!(tiles.hashes(&ProofPlan::root(size)), [root]);
    assert_eq!(edge.tree(), tree);
    for index in [0, 255, 256, 65_535, 65_536, 100_000, 131_071, 131_072, size - 2, size - 1] {
        let plan = ProofPlan::inclusion(index, size).unwrap();
        let audit_path = tiles.hashes(&plan);
        let verified = verify_inclusion(&leaf_hash(&leaf(index)), index, size, &audit_path, &root);
        assert_eq!(verified, Ok(()), "{index}");
    }
    let first = ProofPlan::inclusion(0, size).unwrap().tiles();
    let paths: Vec<String> = first.iter().map(Tile::to_string).collect();
    let highest = ["tile/1/000", "tile/1/002.p/2", "tile/2/000.p/2"];
    assert_eq!(paths, [["tile/0/000", "tile/0/514.p/3"].as_slice(), &highest].concat());
    let old_root = tiles.hashes(&ProofPlan::root(old_size))[0];
    let proof = tiles.hashes(&ProofPlan::consistency(old_size, size).unwrap());
    assert_eq!(verify_consistency(old_size, &old_root, size, &root, &proof), Ok(()));
}

#[test]
fn questions_beyond_the_tree_have_no_plan() {
    assert!(ProofPlan::inclusion(7, 7).is_err());
    assert!(ProofPlan::inclusion(0, 0).is_err());
    assert!(ProofPlan::consistency(8, 7).is_err());
    assert!(ProofPlan::inclusion(u64::MAX - 1, u64::MAX).is_ok());
    assert!(ProofPlan::consistency(u64::MAX / 3, u64::MAX).is_ok());
}

#[test]
fn the_empty_tree_begins_every_tree_and_nothing_else_passes_for_it() {
    let root = mth(&leaves(5));
    let empty = Hash::EMPTY_ROOT;
    assert_eq!(ProofPlan::consistency(0, 5).unwrap().tiles(), []);
    assert_eq!(verify_consistency(0, &empty, 5, &root, &[]), Ok(()));
    assert_eq!(verify_consistency(0, &empty, 0, &empty, &[]), Ok(()));
    assert_eq!(verify_consistency(0, &root, 5, &root, &[]), Err(VerifyProofError::Root));
    assert_eq!(verify_consistency(0, &empty, 5, &root, &[root]), Err(VerifyProofError::Length));
    assert_eq!(verify_consistency(5, &root, 5, &root, &[]), Ok(()));
    assert_eq!(verify_consistency(5, &empty, 5, &root, &[]), Err(VerifyProofError::Root));
    assert_eq!(verify_consistency(5, &root, 4, &root, &[]), Err(VerifyProofError::Range));
    assert_eq!(verify_consistency(4, &root, 5, &root, &[]), Err(VerifyProofError::Length));
}

#[test]
fn tiles_of_the_wrong_length_and_missing_tiles_are_named() {
    let plan = ProofPlan::root(3);
    let tile = Tile::hashes(0, 0, 3).unwrap();
    assert_eq!(plan.tiles(), [tile]);
    for length_bytes in [0, 95, 97, 128] {
        let read = plan.hashes(|_| Ok::<_, Infallible>(vec![0; length_bytes]));
        assert_eq!(read, Err(ReadTileError::Length { tile, length_bytes }));
    }
    let missing = plan.hashes(|_| Err::<Vec<u8>, _>(std::fmt::Error));
    assert_eq!(missing, Err(ReadTileError::Read { tile, source: std::fmt::Error }));
}

fn sizes() -> impl Strategy<Value = (u64, u64)> {
    (1_u64..1500).prop_flat_map(|size| (0..size, Just(size)))
}

fn foreign_tree(size: u64) -> MemoryBackedTree<Sha256, Vec<u8>> {
    let mut tree = MemoryBackedTree::new();
    leaves(size).into_iter().for_each(|leaf| tree.push(leaf));
    tree
}

fn digest(hash: &Hash) -> sha2::digest::Output<Sha256> {
    (*hash.as_bytes()).into()
}

fn bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn ct_merkle_accepts_our_inclusion_proofs_and_makes_the_same((index, size) in sizes()) {
        let foreign = foreign_tree(size);
        let tiles = Tiles::of(size);
        let root = tiles.hashes(&ProofPlan::root(size))[0];
        prop_assert_eq!(*foreign.root().as_bytes(), digest(&root));
        let ours = tiles.hashes(&ProofPlan::inclusion(index, size).unwrap());
        let theirs = foreign.prove_inclusion(usize::try_from(index).unwrap());
        prop_assert_eq!(theirs.as_bytes(), bytes(&ours));
        let as_theirs = InclusionProof::<Sha256>::try_from_bytes(bytes(&ours)).unwrap();
        let their_root = RootHash::<Sha256>::new(digest(&root), size);
        prop_assert!(their_root.verify_inclusion(&leaf(index), index, &as_theirs).is_ok());
        prop_assert_eq!(verify_inclusion(&leaf_hash(&leaf(index)), index, size, &ours, &root), Ok(()));
    }

    #[test]
    fn ct_merkle_accepts_our_consistency_proofs_and_makes_the_same((before, size) in sizes()) {
        let old_size = before + 1;
        let foreign = foreign_tree(size);
        let tiles = Tiles::of(size);
        let root_of = |size| tiles.hashes(&ProofPlan::root(size))[0];
        let (old_root, root) = (root_of(old_size), root_of(size));
        let ours = tiles.hashes(&ProofPlan::consistency(old_size, size).unwrap());
        let theirs = foreign.prove_consistency(usize::try_from(size - old_size).unwrap());
        prop_assert_eq!(theirs.as_bytes(), bytes(&ours));
        let as_theirs = ConsistencyProof::<Sha256>::try_from_bytes(bytes(&ours)).unwrap();
        let their_old = RootHash::<Sha256>::new(digest(&old_root), old_size);
        let their_new = RootHash::<Sha256>::new(digest(&root), size);
        prop_assert!(their_new.verify_consistency(&their_old, &as_theirs).is_ok());
        prop_assert_eq!(verify_consistency(old_size, &old_root, size, &root, &ours), Ok(()));
    }

    #[test]
    fn no_altered_inclusion_proof_verifies(
        (index, size) in sizes(), at in any::<prop::sample::Index>(), bit in 0_usize..256,
    ) {
        let tiles = Tiles::of(size);
        let root = tiles.hashes(&ProofPlan::root(size))[0];
        let leaf = leaf_hash(&leaf(index));
        let good = tiles.hashes(&ProofPlan::inclusion(index, size).unwrap());
        let verify = |leaf: &Hash, index, proof: &[Hash]| verify_inclusion(leaf, index, size, proof, &root);
        prop_assert!(verify(&flipped(&leaf, bit), index, &good).is_err());
        prop_assert!(verify(&leaf, size, &good).is_err());
        let longer = [good.as_slice(), &[root]].concat();
        prop_assert_eq!(verify(&leaf, index, &longer), Err(VerifyProofError::Length));
        if !good.is_empty() {
            let place = at.index(good.len());
            let mut bad = good.clone();
            bad[place] = flipped(&bad[place], bit);
            prop_assert_eq!(verify(&leaf, index, &bad), Err(VerifyProofError::Root));
            prop_assert!(verify(&leaf, (index + 1) % size, &good).is_err());
            prop_assert_eq!(verify(&leaf, index, &good[1..]), Err(VerifyProofError::Length));
        }
    }

    #[test]
    fn no_altered_consistency_proof_verifies(
        (before, size) in sizes(), at in any::<prop::sample::Index>(), bit in 0_usize..256,
    ) {
        let old_size = before + 1;
        let tiles = Tiles::of(size);
        let root_of = |size| tiles.hashes(&ProofPlan::root(size))[0];
        let (old_root, root) = (root_of(old_size), root_of(size));
        let good = tiles.hashes(&ProofPlan::consistency(old_size, size).unwrap());
        let verify = |old_root: &Hash, root: &Hash, proof: &[Hash]| {
            verify_consistency(old_size, old_root, size, root, proof)
        };
        prop_assert_eq!(verify(&flipped(&old_root, bit), &root, &good), Err(VerifyProofError::Root));
        prop_assert_eq!(verify(&old_root, &flipped(&root, bit), &good), Err(VerifyProofError::Root));
        let longer = [good.as_slice(), &[root]].concat();
        prop_assert_eq!(verify(&old_root, &root, &longer), Err(VerifyProofError::Length));
        if !good.is_empty() {
            let place = at.index(good.len());
            let mut bad = good.clone();
            bad[place] = flipped(&bad[place], bit);
            prop_assert_eq!(verify(&old_root, &root, &bad), Err(VerifyProofError::Root));
            prop_assert!(verify(&old_root, &root, &good[..good.len() - 1]).is_err());
        }
    }

    #[test]
    fn verifying_never_panics(
        numbers in any::<[u64; 2]>(), hashes in prop::collection::vec(any::<[u8; 32]>(), 2..70),
    ) {
        let hashes: Vec<Hash> = hashes.into_iter().map(Hash::from_bytes).collect();
        let [first, second] = numbers;
        prop_assert!(verify_inclusion(&hashes[0], first, second, &hashes[2..], &hashes[1]).is_err());
        let consistent = verify_consistency(first, &hashes[0], second, &hashes[1], &hashes[2..]);
        prop_assert!(consistent.is_err());
    }
}

fn flipped(hash: &Hash, bit: usize) -> Hash {
    let mut bytes = *hash.as_bytes();
    bytes[bit / 8] ^= 1 << (bit % 8);
    Hash::from_bytes(bytes)
}
