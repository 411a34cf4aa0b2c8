//! Trying something with many values, other ones each time.
//!
//! proptest makes the values and finds the smallest that fails. It is built without its own source of randomness and
//! without regular expressions: those would change what the executable under test is built from.

use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{
    Config, RngAlgorithm, TestCaseError, TestCaseResult, TestError, TestRng, TestRunner,
};

/// How many times as many values as usual: what `HOSTILE_TIMES` says.
pub fn times() -> u32 {
    let times = std::env::var("HOSTILE_TIMES").ok();
    times.and_then(|times| times.parse().ok()).unwrap_or(1)
}

/// What failed once, a line each: a test's name, the seed, and how many values it took.
const SEEDS: &str = include_str!("seeds");

/// The seeds of a test's earlier failures, with how many values each takes.
fn earlier(test: &str) -> impl Iterator<Item = (u64, u32)> {
    let lines = SEEDS.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(move |line| {
        let mut words = line.split(' ');
        let (name, seed, cases) = (words.next()?, words.next()?, words.next()?);
        let number = "a number in tests/hostile/seeds";
        (name == test).then(|| (seed.parse().expect(number), cases.parse().expect(number)))
    })
}

fn seed() -> u64 {
    let seed = std::env::var("HOSTILE_SEED").ok();
    seed.and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..))
}

fn runner(seed: u64, cases: u32) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases,
        max_shrink_iters: 2000,
        max_global_rejects: u32::MAX,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    TestRunner::new_with_rng(config, rng)
}

/// Tries something with so many values, or [`times`] as many, and with those that it failed with before. A panic is a
/// failure, and shown with the smallest value that leads to one.
pub fn tried<S: Strategy>(usual: u32, values: &S, check: impl Fn(S::Value) -> TestCaseResult) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or_default();
    let new = (seed(), usual.saturating_mul(times()));
    for (seed, cases) in earlier(name).chain([new]) {
        std::panic::set_hook(Box::new(|_| {}));
        let result = runner(seed, cases).run(values, |value| {
            catch_unwind(AssertUnwindSafe(|| check(value))).unwrap_or_else(|panic| {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
                let text = text.unwrap_or_default();
                Err(TestCaseError::fail(text))
            })
        });
        drop(std::panic::take_hook());
        eprintln!("{cases} inputs, HOSTILE_SEED={seed}");
        let again = format!("for tests/hostile/seeds: {name} {seed} {cases}");
        match result {
            Ok(()) => {}
            Err(TestError::Fail(why, value)) => panic!("{why}\n{again}\nwith {value:#?}"),
            Err(error) => panic!("{error}\n{again}"),
        }
    }
}

/// So many values, or [`times`] as many.
pub fn some<T: std::fmt::Debug>(values: &impl Strategy<Value = T>, usual: u32) -> Vec<T> {
    let (seed, cases) = (seed(), usual.saturating_mul(times()));
    let mut runner = runner(seed, cases);
    eprintln!("{cases} inputs, HOSTILE_SEED={seed}");
    (0..cases)
        .map(|_| values.new_tree(&mut runner).expect("a value").current())
        .collect()
}

#[test]
fn what_failed_once_is_tried_again() {
    for line in SEEDS.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(' ').next().expect("a name");
        assert_eq!(
            earlier(name).count() > 0,
            line.split(' ').count() == 3,
            "{line}"
        );
    }
    assert_eq!(earlier("no such test").count(), 0);
}

/// An error is one line, not too long, and says where.
pub fn assert_told(error: &str, places: &[&str]) {
    assert!(error.len() < 8000, "{} bytes: {error:.300}", error.len());
    assert!(!error.contains(['\n', '\r', '\0', '\u{1b}']), "{error:?}");
    assert!(
        places.is_empty() || places.iter().any(|place| error.contains(place)),
        "{error}"
    );
}
