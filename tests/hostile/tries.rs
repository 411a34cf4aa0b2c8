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

fn runner(usual: u32) -> (TestRunner, u64) {
    let seed = std::env::var("HOSTILE_SEED").ok();
    let seed = seed
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..));
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: usual.saturating_mul(times()),
        max_shrink_iters: 2000,
        max_global_rejects: u32::MAX,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    (TestRunner::new_with_rng(config, rng), seed)
}

/// Tries something with so many values, or [`times`] as many. A panic is a failure, and shown with the smallest value
/// that leads to one.
pub fn tried<S: Strategy>(usual: u32, values: &S, check: impl Fn(S::Value) -> TestCaseResult) {
    let (mut runner, seed) = runner(usual);
    let cases = runner.config().cases;
    std::panic::set_hook(Box::new(|_| {}));
    let result = runner.run(values, |value| {
        catch_unwind(AssertUnwindSafe(|| check(value))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            let text = text.unwrap_or_default();
            Err(TestCaseError::fail(text))
        })
    });
    drop(std::panic::take_hook());
    match result {
        Ok(()) => eprintln!("{cases} inputs"),
        Err(TestError::Fail(why, value)) => panic!("HOSTILE_SEED={seed}: {why}\nwith {value:#?}"),
        Err(error) => panic!("HOSTILE_SEED={seed}: {error}"),
    }
}

/// So many values, or [`times`] as many.
pub fn some<T: std::fmt::Debug>(values: &impl Strategy<Value = T>, usual: u32) -> Vec<T> {
    let (mut runner, seed) = runner(usual);
    let cases = runner.config().cases;
    eprintln!("{cases} inputs, HOSTILE_SEED={seed}");
    (0..cases)
        .map(|_| values.new_tree(&mut runner).expect("a value").current())
        .collect()
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
