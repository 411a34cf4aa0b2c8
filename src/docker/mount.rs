//! What `--mount` takes: a line of CSV.

use std::path::Path;

use super::word::Word;

/// A path of the engine's host, to be read only.
#[must_use]
pub fn bind(source: &Path, target: &str) -> String {
    let source = field("source", &source.display().to_string());
    format!("type=bind,{source},{},readonly", field("target", target))
}

/// A volume, which docker makes where it is missing: by this driver, if not its own, with these options of the driver and
/// these labels. Unlike one
/// that `docker volume create` made, it is in use from its first moment, so that no `docker volume prune` takes it.
pub fn volume<'a>(
    name: &Word,
    target: &str,
    driver: Option<&str>,
    options: impl IntoIterator<Item = (&'a String, &'a String)>,
    labels: impl IntoIterator<Item = &'a (String, String)>,
) -> Word {
    let mut fields = vec![field("target", target)];
    fields.extend(driver.map(|driver| field("volume-driver", driver)));
    let options = options.into_iter();
    fields.extend(options.map(|(name, value)| field("volume-opt", &format!("{name}={value}"))));
    let labels = labels.into_iter();
    fields.extend(labels.map(|(name, value)| field("volume-label", &format!("{name}={value}"))));
    // A volume's name has nothing to quote: docker allows it letters, digits and `_.-`.
    Word::from("type=volume,source=")
        .then(name.clone())
        .then(format!(",{}", fields.join(",")))
}

/// A volume to be read only. `fills`: where it is empty, it gets what the image has at this path. A volume that other
/// containers rely on must not get it from an image that anybody made.
pub fn read_only_volume<'a>(
    name: &Word,
    target: &str,
    fills: bool,
    labels: impl IntoIterator<Item = &'a (String, String)>,
) -> Word {
    let how = if fills { "" } else { ",volume-nocopy" };
    volume(name, target, None, [], labels).then(format!(",readonly{how}"))
}

fn field(key: &str, value: &str) -> String {
    if value.contains([',', '"', '\n', '\r']) {
        format!("\"{key}={}\"", value.replace('"', "\"\""))
    } else {
        format!("{key}={value}")
    }
}

#[cfg(test)]
mod tests {
    use super::{bind, volume};
    use crate::docker::Word;
    use std::path::Path;

    #[test]
    fn values_are_quoted_as_csv_has_it() {
        assert_eq!(
            bind(Path::new("/a,\"b\""), "/c d"),
            "type=bind,\"source=/a,\"\"b\"\"\",target=/c d,readonly"
        );
        let labels = [
            ("a".to_owned(), "1".to_owned()),
            ("b".to_owned(), "x,readonly".to_owned()),
        ];
        let (key, value) = ("o".to_owned(), "addr=a,rw".to_owned());
        let options = [(&key, &value)];
        let mount = volume(&Word::from("v"), "/c,d", Some("local"), options, &labels);
        assert_eq!(
            mount,
            Word::from(
                "type=volume,source=v,\"target=/c,d\",volume-driver=local,\"volume-opt=o=addr=a,rw\",volume-label=a=1,\"volume-label=b=x,readonly\""
            )
        );
    }
}
