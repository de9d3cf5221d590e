use super::*;

fn text(chain: &Chain) -> Vec<u8> {
    let mut all = Vec::new();
    chain.with_io_slices(|pieces| pieces.iter().for_each(|piece| all.extend_from_slice(piece)));
    all
}

#[test]
fn bytes_leave_in_the_order_they_were_pushed() {
    let pool = Pool::new();
    let mut chain = Chain::new();
    let mut expected = Vec::new();
    for size in [1, 100, BLOCK_BYTES - 1, BLOCK_BYTES, 3, 3 * BLOCK_BYTES, 7] {
        let piece = vec![size as u8; size];
        chain.push(&pool, &piece);
        expected.extend_from_slice(&piece);
    }
    let whole = chain.push_whole(&pool, &[b"get ", b"key", b"\r\n"]);
    assert_eq!(whole.bytes(), b"get key\r\n");
    let key = whole.part_of(&whole.bytes()[4..7]).expect("a part of it");
    assert_eq!(key.bytes(), b"key");
    assert!(key.part_of(whole.bytes()).is_none() && whole.part_of(b"key").is_none());
    expected.extend_from_slice(b"get key\r\n");
    assert_eq!(chain.len(), expected.len());
    while !chain.is_empty() {
        assert_eq!(text(&chain), expected);
        let step = 997.min(chain.len());
        chain.consume(step);
        expected.drain(..step);
    }
    assert_eq!(whole.bytes(), b"get key\r\n");
}

#[test]
fn a_piece_can_be_pushed_again_on_its_own_chain_and_on_another() {
    let pool = Pool::new();
    let (mut one, mut two) = (Chain::new(), Chain::new());
    let small = one.push_whole(&pool, &[b"small"]);
    let large = one.push_whole(&pool, &[&[b'x'; 2 * REFERENCE_MIN]]);
    one.push_slice(&pool, &small);
    two.push_slice(&pool, &small);
    two.push_slice(&pool, &large);
    one.push(&pool, b"after");
    two.push(&pool, b"behind");
    let body = "x".repeat(2 * REFERENCE_MIN);
    assert_eq!(text(&one), format!("small{body}smallafter").into_bytes());
    assert_eq!(text(&two), format!("small{body}behind").into_bytes());
    two.append(&pool, &mut one);
    assert_eq!(
        text(&two),
        format!("small{body}behindsmall{body}smallafter").into_bytes()
    );
}

#[test]
fn a_piece_is_looked_at_while_its_chain_is_written_to() {
    let pool = Pool::new();
    let mut chain = Chain::new();
    let piece = chain.push_whole(&pool, &[b"append k 0 0 1\r\nx\r\n"]);
    let seen = piece.bytes();
    chain.push(&pool, b"mg k v\r\n");
    chain.push_whole(&pool, &[&seen[7..8], seen]);
    chain.push_slice(&pool, &piece);
    assert_eq!(seen, b"append k 0 0 1\r\nx\r\n");
    chain.clear();
    chain.push(&pool, &[b'y'; 3 * BLOCK_BYTES]);
    assert_eq!(
        seen, b"append k 0 0 1\r\nx\r\n",
        "its block is not used anew while it is there"
    );
    drop(piece);
    chain.clear();
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn what_is_idle_owns_nothing() {
    let pool = Pool::new();
    let mut chain = Chain::new();
    chain.push(&pool, &[1; 10_000]);
    let kept = chain.push_whole(&pool, &[b"kept"]);
    let mut gather = pool.gather(10);
    gather.extend(&[0; 100]);
    assert!(pool.in_use() >= 10_000 + 100);
    chain.consume(chain.len());
    drop(gather.freeze());
    drop(kept);
    assert_eq!(pool.in_use(), 0);
}
