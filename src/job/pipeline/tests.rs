use super::Pipeline;
use std::io::Write;

fn read(ending: &str, text: &str) -> Result<Pipeline, String> {
    let mut file = tempfile::Builder::new()
        .suffix(ending)
        .tempfile()
        .expect("a file");
    file.write_all(text.as_bytes()).expect("written");
    let place = file.path().display().to_string();
    Pipeline::read(file.path()).map_err(|error| error.to_string().replace(&place, "FILE"))
}

#[test]
fn a_jobs_own_keyword_replaces_the_global_one_whole() {
    let text = r#"{"image": "a", "variables": {"A": "1", "B": 2}, "before_script": ["x"],
        ".template": {"image": 3}, "one": {"script": "y"},
        "two": {"script": ["z"], "variables": {"C": true}, "before_script": [], "image": {"name": "b"}}}"#;
    let pipeline = read(".json", text).expect("good");
    assert_eq!(
        pipeline
            .jobs
            .iter()
            .map(|job| job.name.as_str())
            .collect::<Vec<_>>(),
        ["one", "two"]
    );
    let (one, two) = (&pipeline.jobs[0], &pipeline.jobs[1]);
    assert_eq!(one.commands(), ["x", "y"]);
    assert_eq!(two.commands(), ["z"]);
    assert_eq!(one.variables().len(), 2);
    assert_eq!(two.variables()[0].value.expose(), "true");
    assert_eq!(
        two.keywords.image.as_ref().map(|image| image.name.as_str()),
        Some("b")
    );
}

#[test]
fn yaml_says_the_same() {
    let text = "image: a\n.t: &t\n  before_script: [x]\none:\n  <<: *t\n  script:\n    - y\n    - |\n      a\n      b\n";
    let pipeline = read(".yml", text).expect("good");
    assert_eq!(pipeline.jobs[0].commands(), ["x", "y", "a\nb\n"]);
}

#[test]
fn an_unknown_job_is_answered_with_the_known_ones() {
    let pipeline = read(
        ".json",
        r#"{"build": {"script": "x"}, "test": {"script": "x"}}"#,
    )
    .expect("good");
    assert_eq!(
        pipeline.job("tests").expect_err("unknown").to_string(),
        "there is no job `tests` (did you mean `test`?); the jobs are: build, test"
    );
}

#[test]
fn what_looks_wrong_is_collected_with_its_place() {
    let text = "{\"a\": {\"script\": \"x\", \"before_scripts\": [],\n\"cache\": {\"pats\": []}}}";
    let pipeline = read(".json", text).expect("good");
    let places = [
        ".json:1:23: a.before_scripts: ",
        ".json:2:11: a.cache.pats: ",
    ];
    assert_eq!(pipeline.doubts.len(), places.len());
    for (doubt, place) in pipeline.doubts.iter().zip(places) {
        assert!(doubt.contains(place), "{doubt}");
    }
}
