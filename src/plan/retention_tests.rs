use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { keep: 2, budget: 0, at_once: 10 };

fn digest(seed: impl ToString) -> Digest {
    Digest::of(seed.to_string().as_bytes())
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// An image that updaterd pulled, wanted at this second, of this size and no other's.
fn pulled(name: &str, wanted: i64, size: u64) -> Stored {
    let reference = "quay.io/app:1".parse().unwrap();
    Stored {
        id: digest(name),
        digests: vec![digest(name)],
        pulled: Some(Pulled { reference, manifest: digest(name), wanted: at(wanted) }),
        held: false,
        parts: vec![Part { id: digest(format!("{name}'s layer")), size }],
    }
}

fn held(image: Stored) -> Stored {
    Stored { held: true, ..image }
}

fn foreign(image: Stored) -> Stored {
    Stored { pulled: None, ..image }
}

fn shelf(images: &[&str]) -> Shelf {
    let pin =
        |(at, name): (usize, &&str)| Pin { name: format!("{name}-{at}"), image: digest(name) };
    Shelf(images.iter().enumerate().map(pin).collect())
}

fn names(images: &[Stored], of: &[&str]) -> Vec<Digest> {
    assert_eq!(images.len(), of.len(), "{images:?}");
    images.iter().map(|image| image.id.clone()).collect()
}

#[track_caller]
fn assert_goes(stock: &Stock, limits: Limits, expected: &[&str], unpinned: &[&str]) {
    let clearing = clear(stock, &BTreeSet::new(), at(100), limits);
    let ids: Vec<Digest> = expected.iter().map(digest).collect();
    assert_eq!(names(&clearing.remove, expected), ids);
    assert_eq!(clearing.unpin, unpinned);
}

#[test]
fn the_running_one_and_the_last_ones_stay() {
    let images =
        vec![pulled("v1", 1, 1), pulled("v2", 2, 1), pulled("v3", 3, 1), held(pulled("v4", 4, 1))];
    let after = Stock {
        images: images.clone(),
        shelves: vec![shelf(&["v3", "v2", "v1"])],
        ..Stock::default()
    };
    assert_goes(&after, LIMITS, &["v1"], &["v1-2"]);
    // An update that fails has kept what runs on, and costs no way back.
    let failed =
        Stock { images, shelves: vec![shelf(&["v4", "v3", "v2", "v1"])], ..Stock::default() };
    assert_goes(&failed, LIMITS, &["v1"], &["v1-3"]);
}

#[test]
fn what_is_not_there_or_there_twice_needs_no_pin() {
    let images = vec![pulled("v1", 1, 1), pulled("v2", 2, 1)];
    let stock =
        Stock { images, shelves: vec![shelf(&["gone", "v2", "v2", "v1"])], ..Stock::default() };
    assert_goes(&stock, LIMITS, &[], &["gone-0", "v2-2"]);
}

#[test]
fn what_somebody_else_needs_stays() {
    let images = vec![
        held(pulled("named", 1, 1)),
        foreign(pulled("pulled by hand", 1, 1)),
        pulled("another unit's", 1, 1),
        pulled("new in this pass", 100, 1),
        pulled("nobody's", 2, 1),
        pulled("nor anybody's", 1, 1),
    ];
    let stock = Stock { images, shelves: vec![shelf(&["another unit's"])], ..Stock::default() };
    assert_goes(&stock, LIMITS, &["nor anybody's", "nobody's"], &[]);
    let under_way = BTreeSet::from([digest("nobody's")]);
    let clearing = clear(&stock, &under_way, at(100), LIMITS);
    assert_eq!(names(&clearing.remove, &["one"]), [digest("nor anybody's")]);
}

#[test]
fn a_budget_lets_images_stay_that_need_not() {
    let images = vec![pulled("old", 1, 4), pulled("newer", 2, 3), held(pulled("runs", 3, 5))];
    let stock = Stock { images, shelves: vec![], leftovers: false };
    let within = |budget| Limits { budget, ..LIMITS };
    assert_goes(&stock, within(12), &[], &[]);
    assert_goes(&stock, within(11), &["old"], &[]);
    assert_goes(&stock, within(7), &["old", "newer"], &[]);
    let short = clear(&stock, &BTreeSet::new(), at(100), within(3));
    assert_eq!((short.taken, short.needed), (5, 5), "what runs stays all the same");
    let slow = clear(&stock, &BTreeSet::new(), at(100), Limits { at_once: 1, ..within(3) });
    assert_eq!((slow.remove.len(), slow.taken, slow.needed), (1, 8, 5));
}

#[test]
fn shared_parts_count_once_and_others_not_at_all() {
    let base = Part { id: digest("base"), size: 100 };
    let with = |mut image: Stored, part: &Part| {
        image.parts.extend([part.clone(), part.clone()]);
        image
    };
    let mut stock = Stock {
        images: vec![with(pulled("a", 1, 1), &base), with(pulled("b", 2, 1), &base)],
        shelves: vec![],
        leftovers: false,
    };
    let taken = |stock: &Stock, budget| {
        clear(stock, &BTreeSet::new(), at(100), Limits { budget, ..LIMITS }).taken
    };
    assert_eq!((taken(&stock, 102), taken(&stock, 101), taken(&stock, 1)), (102, 101, 0));
    stock.images.push(foreign(with(pulled("c", 3, 1), &base)));
    assert_eq!(taken(&stock, 102), 2);
}

prop_compose! {
    fn any_image(number: usize)(
        wanted in 90i64..110,
        is_own in prop::bool::weighted(0.8),
        is_held in prop::bool::weighted(0.2),
        parts in prop::collection::vec((0u8..12, 0u64..50), 0..4),
    ) -> Stored {
        let image = pulled(&number.to_string(), wanted, 0);
        let pulled = image.pulled.filter(|_| is_own);
        // A part has one size.
        let part = |(id, _): (u8, u64)| Part { id: digest(id), size: u64::from(id) * 7 };
        let parts = parts.into_iter().map(part).collect();
        Stored { pulled, held: is_held, parts, ..image }
    }
}

fn any_stock() -> impl Strategy<Value = Stock> {
    let images: Vec<_> = (0..12).map(any_image).collect();
    // Some of them pin what is not there.
    let shelf = prop::collection::vec(0usize..14, 0..8).prop_map(|images| {
        let names: Vec<String> = images.iter().map(ToString::to_string).collect();
        shelf(&names.iter().map(String::as_str).collect::<Vec<_>>())
    });
    let shelves = prop::collection::vec(shelf, 0..4).prop_map(|mut shelves| {
        // A pin's name is its own.
        for (at, Shelf(pins)) in shelves.iter_mut().enumerate() {
            pins.iter_mut().for_each(|pin| pin.name = format!("{at}-{}", pin.name));
        }
        shelves
    });
    (images, shelves).prop_map(|(images, shelves)| Stock { images, shelves, ..Stock::default() })
}

/// What updaterd's images take, counted naively.
fn taken(images: &[Stored]) -> u64 {
    let parts = |is_own: bool| {
        let of = move |image: &&Stored| image.pulled.is_some() == is_own;
        images.iter().filter(of).flat_map(|image| image.parts.clone()).collect::<BTreeSet<_>>()
    };
    parts(true).difference(&parts(false)).map(|part| part.size).sum()
}

proptest! {
    #[test]
    fn only_what_nobody_needs_goes(
        stock in any_stock(),
        under_way in prop::collection::btree_set(0usize..12, 0..3),
        keep in 1usize..4,
        budget in prop_oneof![Just(0u64), 1u64..300],
        at_once in 1usize..6,
    ) {
        let under_way: BTreeSet<Digest> = under_way.into_iter().map(digest).collect();
        let limits = Limits { keep, budget, at_once };
        let clearing = clear(&stock, &under_way, at(100), limits);

        prop_assert!(clearing.remove.len() <= at_once);
        let goes = |id: &Digest| clearing.remove.iter().any(|image| &image.id == id);
        for image in &clearing.remove {
            prop_assert!(stock.images.contains(image) && !image.held);
            prop_assert!(image.pulled.as_ref().unwrap().wanted < at(100));
            prop_assert!(!under_way.contains(&image.id));
        }
        // A unit keeps as many ways back as it is to have, or as there are, beside what is held.
        let find = |id: &Digest| stock.images.iter().find(|image| &image.id == id);
        for Shelf(pins) in &stock.shelves {
            let mut free: Vec<&Digest> = Vec::new();
            for pin in pins {
                if find(&pin.image).is_some_and(|image| !image.held) && !free.contains(&&pin.image) {
                    free.push(&pin.image);
                }
            }
            for image in free.iter().take(keep) {
                prop_assert!(!goes(image));
                let pins = pins.iter().filter(|pin| &pin.image == *image);
                prop_assert!(pins.filter(|pin| !clearing.unpin.contains(&pin.name)).count() > 0);
            }
        }
        // Whatever goes has no pin left.
        for pin in stock.shelves.iter().flat_map(|shelf| &shelf.0).filter(|pin| goes(&pin.image)) {
            prop_assert!(clearing.unpin.contains(&pin.name));
        }
    }

    #[test]
    fn it_ends_within_the_budget_where_that_can_be(
        stock in any_stock(),
        budget in prop_oneof![Just(0u64), 1u64..300],
        at_once in 1usize..6,
    ) {
        let limits = Limits { keep: 1, budget, at_once };
        let clearing = clear(&stock, &BTreeSet::new(), at(100), limits);
        let mut left = stock.clone();
        left.images.retain(|image| !clearing.remove.contains(image));
        for Shelf(pins) in &mut left.shelves {
            pins.retain(|pin| !clearing.unpin.contains(&pin.name));
        }
        prop_assert_eq!(clearing.taken, taken(&left.images));
        prop_assert!(clearing.needed <= clearing.taken);
        // The next pass finds nothing more to do, unless it had to leave off.
        let next = clear(&left, &BTreeSet::new(), at(100), limits);
        let is_done = next.remove.is_empty() && next.unpin.is_empty();
        prop_assert!(is_done || clearing.remove.len() == at_once);
        prop_assert_eq!(next.needed, clearing.needed);
        let met = clearing.taken <= budget && budget > 0;
        let all = clearing.needed == clearing.taken;
        prop_assert!(met || all || clearing.remove.len() == at_once);
        // None goes for nothing.
        if let Some(last) = clearing.remove.last() && budget > 0 {
            left.images.push(last.clone());
            prop_assert!(taken(&left.images) > budget);
        }
        // Passes come to an end.
        let mut more = left;
        for _ in 0..12 {
            let clearing = clear(&more, &BTreeSet::new(), at(100), limits);
            more.images.retain(|image| !clearing.remove.contains(image));
        }
        prop_assert!(clear(&more, &BTreeSet::new(), at(100), limits).remove.is_empty());
    }
}
