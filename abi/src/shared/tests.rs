//! What is shared, from several threads.

use std::sync::Barrier;

use bytes::Bytes;

use super::*;

fn number(text: &[u8]) -> u64 {
    String::from_utf8_lossy(text).parse().unwrap_or(0)
}

#[test]
fn a_hundred_threads_that_increment_lose_nothing() {
    const THREADS: u64 = 100;
    const EACH: u64 = 50;
    let shared = Shared::default();
    let space = shared.join("v");
    space
        .set(
            b"n",
            Bytes::from_static(b"0"),
            0,
            usize::MAX,
            Duration::ZERO,
        )
        .expect("room");
    let start = Barrier::new(100);
    let mismatches = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let space = shared.join("v");
                start.wait();
                let mut done = 0;
                while done < EACH {
                    let (value, cas) = space.get(b"n", Duration::ZERO).expect("there");
                    let next = (number(&value) + 1).to_string();
                    match space.set(b"n", next.into(), cas, usize::MAX, Duration::ZERO) {
                        Ok(_) => done += 1,
                        Err(SetError::Mismatch) => {
                            mismatches.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(SetError::Full | SetError::Crowded) => panic!("there is room"),
                    }
                }
            });
        }
    });
    let (value, _) = space.get(b"n", Duration::ZERO).expect("there");
    assert_eq!(number(&value), THREADS * EACH);
    // Every value that was stored had a number of its own.
    let (_, last) = space.get(b"n", Duration::ZERO).expect("there");
    assert_eq!(u64::from(last), THREADS * EACH + 1);
}

#[test]
fn data_and_queues_go_with_the_last_holder() {
    let shared = Shared::default();
    let (one, two) = (shared.join("v"), shared.join("v"));
    one.set(b"k", Bytes::new(), 0, usize::MAX, Duration::ZERO)
        .expect("room");
    let queue = shared.register_queue(&one, b"q", None).expect("room").id();
    drop(one);
    assert!(two.get(b"k", Duration::ZERO).is_some());
    assert!(shared.queue(queue).is_some());
    drop(two);
    assert!(shared.find("v").is_none());
    assert!(shared.queue(queue).is_none());
    let again = shared.join("v");
    assert!(again.get(b"k", Duration::ZERO).is_none());
    let other = shared
        .register_queue(&again, b"q", None)
        .expect("room")
        .id();
    assert_ne!(other, queue, "numbers are not used again");
    assert_eq!(shared.spaces().len(), 1);
}

#[test]
fn evictions_are_counted_and_told_once() {
    let shared = Shared::new(Bounds {
        entries: 2,
        ..Bounds::default()
    });
    let space = shared.join("v");
    for key in [b"a", b"b", b"c", b"d"] {
        let evicted = space.set(key, Bytes::new(), 0, usize::MAX, Duration::ZERO);
        let room = if key > b"b" { Room::Made } else { Room::Enough };
        assert_eq!(evicted, Ok(room));
    }
    assert_eq!(space.data_size(), (2, 2));
    assert_eq!(shared.take_evictions(), [("v".to_owned(), 2)]);
    assert_eq!(shared.take_evictions(), []);
    let counted: Vec<u64> = shared
        .metrics()
        .host()
        .iter()
        .map(|one| one.value())
        .collect();
    assert_eq!(counted, [2]);
}

#[test]
fn queues_of_a_vm_id_are_bounded_together() {
    let shared = Shared::new(Bounds {
        queues: 2,
        queue_items: 3,
        queue_bytes: 10,
        ..Bounds::default()
    });
    let space = shared.join("v");
    let a = shared.register_queue(&space, b"a", None).expect("room");
    let b = shared.register_queue(&space, b"b", None).expect("room");
    assert!(shared.register_queue(&space, b"c", None).is_none());
    assert!(shared.register_queue(&space, b"a", None).is_some());
    assert!(a.enqueue(Bytes::from_static(b"12345")));
    assert!(!b.enqueue(Bytes::from_static(b"123456")), "bytes");
    assert!(b.enqueue(Bytes::from_static(b"12345")));
    assert!(b.enqueue(Bytes::new()));
    assert!(!a.enqueue(Bytes::new()), "items");
    assert_eq!(space.queued(), (3, 10));
    assert!(b.dequeue().is_some());
    assert!(a.enqueue(Bytes::from_static(b"1")));
    while a.dequeue().or_else(|| b.dequeue()).is_some() {}
    assert_eq!(space.queued(), (0, 0));
}

#[derive(Default)]
struct Count(AtomicU64);

impl QueueNotifier for Count {
    fn ready(&self, _ready: QueueReady) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn news_that_nobody_takes_does_not_pile_up() {
    let shared = Shared::new(Bounds {
        queue_items: 3,
        ..Bounds::default()
    });
    let count = Arc::new(Count::default());
    let target = || Target {
        notifier: count.clone(),
        vm: shared.next_vm(),
        root: crate::vm::RootId(1),
    };
    let space = shared.join("v");
    let queue = shared
        .register_queue(&space, b"q", Some(target()))
        .expect("room");
    for _ in 0..10 {
        assert!(queue.enqueue(Bytes::new()));
        assert!(queue.dequeue().is_some());
    }
    assert_eq!(count.0.load(Ordering::Relaxed), 3);
    queue.told();
    assert!(queue.enqueue(Bytes::new()));
    assert_eq!(count.0.load(Ordering::Relaxed), 4);
    // Registering again does not make room for more of them on their way.
    let _ = shared.register_queue(&space, b"q", Some(target()));
    assert!(queue.enqueue(Bytes::new()));
    assert!(queue.dequeue().is_some());
    assert_eq!(count.0.load(Ordering::Relaxed), 4);
    // One that finds nobody has arrived all the same.
    shared.queue_ready_missed(QueueReady {
        vm: target().vm,
        root: target().root,
        queue: queue.id(),
    });
    assert!(queue.enqueue(Bytes::new()));
    assert_eq!(count.0.load(Ordering::Relaxed), 5);
}

#[test]
fn news_for_nobody_is_not_on_its_way() {
    let shared = Shared::new(Bounds {
        queue_items: 3,
        ..Bounds::default()
    });
    let count = Arc::new(Count::default());
    let vm = shared.next_vm();
    let root = crate::vm::RootId(1);
    let target = |vm| Target {
        notifier: count.clone(),
        vm,
        root,
    };
    let space = shared.join("v");
    let queue = shared
        .register_queue(&space, b"q", Some(target(vm)))
        .expect("room");
    assert!(queue.enqueue(Bytes::new()));
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    // Its VM is gone; what comes until there is another one is told to nobody.
    shared.queue_ready_missed(QueueReady {
        vm,
        root,
        queue: queue.id(),
    });
    assert!(queue.dequeue().is_some());
    for _ in 0..10 {
        assert!(queue.enqueue(Bytes::new()));
        assert!(queue.dequeue().is_some());
    }
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    let _ = shared.register_queue(&space, b"q", Some(target(shared.next_vm())));
    assert!(queue.enqueue(Bytes::new()));
    assert_eq!(count.0.load(Ordering::Relaxed), 2);
}
