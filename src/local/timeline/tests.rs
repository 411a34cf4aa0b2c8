use super::{About, Bar, lanes, page, short, ticks};
use crate::executor::{Activity, Span};
use crate::local::results::{Fate, Row};
use crate::outcome::Outcome;
use std::time::{Duration, Instant};

fn bar(label: &str, began: f64, took: u64) -> Bar {
    Bar {
        label: label.to_owned(),
        short: label.to_owned(),
        class: if label == "side" { "pull" } else { "script" },
        began,
        took: Duration::from_millis(took),
    }
}

#[test]
fn bars_share_a_lane_where_they_do_not_overlap() {
    let bars = [
        bar("a", 0.0, 1000),
        bar("side", 0.0, 100),
        bar("b", 0.5, 1000),
        bar("c", 1.0, 200),
        bar("d", 1.2, 500),
    ];
    let lanes: Vec<Vec<&str>> = lanes(bars.iter())
        .iter()
        .map(|lane| lane.iter().map(|bar| bar.label.as_str()).collect())
        .collect();
    assert_eq!(lanes, [vec!["a", "c", "d"], vec!["b"], vec!["side"]]);
}

#[test]
fn services_of_one_image_are_told_apart_and_what_is_there_is_no_pull() {
    assert_eq!(short("my.tld:5000/group/redis:latest (cache)"), "cache");
    assert_eq!(short("group/redis:latest"), "redis");
    assert_eq!(short("redis:7"), "redis:7");
    assert_eq!(short(""), "");
    let (long, looked_at) = (bar("side", 0.0, 900), bar("side", 0.0, 90));
    assert!(long.is_drawn(10.0) && !looked_at.is_drawn(10.0));
    assert!(bar("script", 0.0, 90).is_drawn(10.0) && !bar("script", 0.0, 90).is_drawn(100.0));
}

#[test]
fn the_axis_has_round_times() {
    assert_eq!(ticks(1.9), [0.0, 0.5, 1.0, 1.5]);
    assert_eq!(ticks(0.1).len(), 6);
    assert_eq!(ticks(700.0).last(), Some(&700.0));
}

#[test]
fn what_jobs_say_cannot_lead_the_page() {
    let began = Instant::now();
    let evil = "</b><script>alert('x')</script>\"";
    let row = Row {
        name: evil.to_owned(),
        stage: evil.to_owned(),
        may_fail: false,
        fate: Fate::Ended(Outcome::BuildError(evil.into())),
        time: Some((began, Duration::from_secs(1))),
        spans: vec![Span {
            activity: Activity::Pull,
            subject: evil.to_owned(),
            began,
            took: Duration::from_secs(1),
        }],
        last_lines: Vec::new(),
    };
    let about = About {
        project: evil,
        sources: evil,
        began,
        took: Duration::from_secs(2),
    };
    let page = page(&[row], &about);
    assert!(!page.contains("<script"), "{page}");
    assert!(
        page.contains("width:50.000%\" title=\"image &lt;/b&gt;"),
        "{page}"
    );
    for outside in ["http:", "https:", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
}
