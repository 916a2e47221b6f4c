//! How far back reads go, and when.

use futures_util::future::join_all;
use tidings_shared::keys::Namespace;
use tidings_shared::{Partitions, Retention};

use super::*;
use crate::store::MemoryStore;

const MINUTE: u64 = 60_000;
const OPTIONS: ReadOptions = ReadOptions { bytes: 1_000, age: Duration::from_secs(3_600), pause: Duration::ZERO };

fn wish(addresses: &[Arc<Address>], span: Span) -> Wish<'_> {
    let at = Id { ms: 1_000 * MINUTE, seq: 7 };
    let partition = Partitions::ONE.get(0).unwrap();
    Wish { partition, generation: 1, at, addresses, span, kind: metrics::Read::Resume, alone: false }
}

fn minute(ms: u64) -> Id {
    Id { ms: ms * MINUTE, seq: 3 }
}

#[test]
fn a_resume_reads_twice_as_far_back_as_it_asks() {
    let after = |ms| OPTIONS.after(&wish(&[], Span::After(minute(ms)))).ms / MINUTE;
    assert_eq!(after(1_000), 999, "a minute at the least");
    assert_eq!(after(990), 980);
    assert_eq!(after(970), 955, "not further than the store can surely tell");
    assert_eq!(OPTIONS.after(&wish(&[], Span::After(minute(950)))), minute(950), "but as far as it asks");
    assert_eq!(after(1_001), 1_000, "also where the watermark has not come yet");
}

#[test]
fn whoever_is_read_for_alone_or_comes_anew_gets_what_is_asked_for() {
    let alone = Wish { alone: true, ..wish(&[], Span::After(minute(990))) };
    let new = Wish { kind: metrics::Read::Attach, ..wish(&[], Span::After(minute(990))) };
    assert_eq!([OPTIONS.after(&alone), OPTIONS.after(&new)], [minute(990); 2]);
    assert_eq!(OPTIONS.after(&wish(&[], Span::Latest)), Id::ZERO);
}

fn reads(pause: Duration) -> (Reads, Client) {
    let store = MemoryStore::new(Namespace::default(), Partitions::ONE, Retention::default(), "gw".to_owned());
    let client = store.connect(Partitions::ONE.all().collect()).client;
    (Reads::new(ReadOptions { pause, ..OPTIONS }, Metrics::new()), client)
}

fn addresses(name: String) -> Vec<Arc<Address>> {
    vec![Arc::new(name.parse().unwrap())]
}

#[tokio::test]
async fn who_comes_close_behind_a_read_is_gathered() {
    let (mut reads, client) = reads(Duration::from_millis(50));
    let mut read =
        |n: u32| reads.read(&client, &wish(&addresses(format!("a/{n}")), Span::After(minute(999))), |_| None).read();
    assert!((0..AHEAD).all(|n| read(n).now_or_never().is_some()), "the first wait for nothing");
    let (one, two) = (read(98), read(99));
    assert!(one.clone().now_or_never().is_none(), "the next one does, for more to come");
    assert!(Rc::ptr_eq(&one.await.unwrap(), &two.await.unwrap()));
}

#[tokio::test]
async fn many_do_not_wait_for_more() {
    let (mut reads, client) = reads(Duration::from_secs(3_600));
    let mut read =
        |n: u32| reads.read(&client, &wish(&addresses(format!("a/{n}")), Span::After(minute(999))), |_| None).read();
    assert!((0..AHEAD).all(|n| read(n).now_or_never().is_some()));
    let few: Vec<SharedRead> = (101..=110).map(&mut read).collect();
    assert!(join_all(few.clone()).now_or_never().is_none());
    let more: Vec<SharedRead> = (111..=140).map(&mut read).collect();
    let all = join_all(few.into_iter().chain(more)).now_or_never().unwrap();
    assert!(all.iter().all(|past| Rc::ptr_eq(past.as_ref().unwrap(), all[0].as_ref().unwrap())), "one read");
}

#[tokio::test]
async fn a_crowd_that_is_gone_holds_up_nobody() {
    let pause = Duration::from_millis(100);
    let (mut reads, client) = reads(pause);
    let mut read =
        |n: u32| reads.read(&client, &wish(&addresses(format!("a/{n}")), Span::After(minute(999))), |_| None).read();
    // 100 reads, as each has 256 addresses at most. None of them waits.
    let crowd: Vec<SharedRead> = (0..100 * 256).map(&mut read).collect();
    join_all(crowd).await;
    let late = tokio::time::timeout(pause * 50, read(99_999)).await;
    assert!(late.unwrap().is_some(), "not 100 pauses");
}

#[tokio::test]
async fn a_read_that_nobody_waits_for_any_more_gives_its_turn_back() {
    let (mut reads, client) = reads(Duration::from_secs(3_600));
    let read = |reads: &mut Reads, n: u32, generation| {
        let addresses = addresses(format!("a/{n}"));
        let wish = Wish { generation, ..wish(&addresses, Span::After(minute(999))) };
        reads.read(&client, &wish, |_| None)
    };
    assert!((0..AHEAD).all(|n| read(&mut reads, n, 1).read().now_or_never().is_some()));
    // As many as may be under way, each with its turn.
    for generation in [1, 2] {
        let left = read(&mut reads, 98, generation);
        assert!(left.read().now_or_never().is_none());
        reads.withdraw(&left);
    }
    let crowd: Vec<_> = (0..32).map(|n| read(&mut reads, 100 + n, 3).read()).collect();
    assert!(join_all(crowd).now_or_never().is_some());
}

#[tokio::test]
async fn who_comes_back_waits_for_none_who_come_anew() {
    let (mut reads, client) = reads(Duration::from_secs(3_600));
    let mut read = |kind, name: &str| {
        let addresses = addresses(name.to_owned());
        reads.read(&client, &Wish { kind, ..wish(&addresses, Span::After(minute(999))) }, |_| None).read()
    };
    assert!((0..AHEAD).all(|n| read(metrics::Read::Attach, &format!("a/{n}")).now_or_never().is_some()));
    assert!(read(metrics::Read::Attach, "b").now_or_never().is_none());
    assert!(read(metrics::Read::Resume, "c").now_or_never().is_some());
}
