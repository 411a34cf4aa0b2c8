use super::{Variable, Variables, assignment};

fn value(definitions: &[(&str, &str)], name: &str) -> String {
    let variables = definitions
        .iter()
        .map(|(name, value)| Variable::public(*name, *value));
    Variables::resolve(variables)
        .expect("good names")
        .get(name)
        .expect(name)
        .to_owned()
}

#[test]
fn references_expand_and_other_dollars_stay() {
    let known = [("A", "1"), ("B_2", "${A}$A"), ("X", "")];
    for (text, want) in [
        ("$A-${B_2}", "1-11"),
        ("$$A $$$A", "$A $1"),
        ("$UNKNOWN|${UNKNOWN}", "|"),
        ("costs $5, 100$", "costs $5, 100$"),
        ("$(A) ${A ${A:-x} ${} $-", "$(A) ${A ${A:-x} ${} $-"),
        ("'\"\n\t\\ grün", "'\"\n\t\\ grün"),
    ] {
        let mut all = known.to_vec();
        all.push(("T", text));
        assert_eq!(value(&all, "T"), want, "{text}");
    }
}

#[test]
fn later_ones_win_and_circles_end() {
    assert_eq!(value(&[("A", "1"), ("A", "2")], "A"), "2");
    assert_eq!(value(&[("A", "a$B"), ("B", "b$A")], "A"), "ab");
    assert_eq!(value(&[("A", "x:$A")], "A"), "x:");
}

#[test]
fn who_refers_to_a_secret_is_one() {
    let variables = Variables::resolve([
        Variable::secret("PASSWORD", "a$b"),
        Variable::public("URL", "db://u:$PASSWORD@h"),
        Variable::public("DEEP", "$URL/x"),
        Variable::public("PLAIN", "x"),
    ])
    .expect("good names");
    let secret: Vec<_> = variables
        .iter()
        .filter(|v| !v.public)
        .map(|v| v.name.as_str())
        .collect();
    assert_eq!(secret, ["DEEP", "PASSWORD", "URL"]);
    assert_eq!(variables.get("URL"), Some("db://u:a$b@h"));
}

#[test]
fn who_refers_to_a_file_gets_its_path_and_no_secret() {
    let file = Variable {
        file: true,
        ..Variable::secret("KUBECONFIG", "contents")
    };
    let variables = [file, Variable::public("FLAGS", "--kubeconfig=$KUBECONFIG")];
    let variables = Variables::with_files(variables, "/files").expect("good names");
    assert_eq!(
        variables.get("FLAGS"),
        Some("--kubeconfig=/files/KUBECONFIG")
    );
    let public: Vec<bool> = variables.iter().map(|variable| variable.public).collect();
    assert_eq!(public, [true, false]);
    assert_eq!(variables.expand("a-$KUBECONFIG"), "a-/files/KUBECONFIG");
    assert!(
        variables.shows_no_secret("$KUBECONFIG") && variables.secret_in("$KUBECONFIG").is_none()
    );
    assert_eq!(variables.get("KUBECONFIG"), Some("contents"));
}

#[test]
fn what_no_environment_can_hold_is_refused() {
    for name in ["", "1A", "A-B", "A=B", "A\n", "ä"] {
        assert!(
            Variables::resolve([Variable::public(name, "")]).is_err(),
            "{name:?}"
        );
    }
    assert!(Variables::resolve([Variable::public("A", "\0")]).is_err());
    assert!(Variables::resolve([Variable::public("A", "x".repeat(128 * 1024))]).is_err());
}

#[test]
fn variables_that_multiply_are_refused_in_time() {
    let doubling = (0..40).map(|i| Variable::public(format!("V{i}"), format!("$V{0}$V{0}", i + 1)));
    let error = Variables::resolve(doubling)
        .expect_err("too many")
        .to_string();
    assert_eq!(
        error,
        "the variable V0 refers to others more than 10000 times"
    );
    // Long values, too, end at what an environment can hold.
    let long = (0..12).map(|i| Variable::public(format!("V{i}"), format!("$V{0}$V{0}", i + 1)));
    let long = long.chain([Variable::public("V12", "x".repeat(1000))]);
    assert!(Variables::resolve(long).is_err());
}

#[test]
fn a_wrong_variable_shows_no_value() {
    assert_eq!(assignment("A=x y=z"), Ok(("A", "x y=z")));
    for (entry, end) in [
        ("A: secret", "write `A=…`"),
        ("MY-NAME=secret", "write `MY_NAME`"),
        ("=secret", "no digit first"),
        ("a secret", "there is no `=`"),
    ] {
        let what = assignment(entry).expect_err(entry);
        assert!(what.ends_with(end) && !what.contains("secret"), "{what}");
    }
}
