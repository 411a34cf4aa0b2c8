use super::{Log, Screen, prefix};
use crate::cancel::Cancel;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex};

#[derive(Clone, Default)]
struct Shown(Arc<Mutex<Vec<u8>>>);

impl Shown {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no panic").clone()).expect("UTF-8")
    }
}

impl Write for Shown {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn screen(colour: bool) -> (Shown, Arc<Screen>) {
    let shown = Shown::default();
    let screen = Arc::new(Screen::new(Box::new(shown.clone()), colour, Cancel::new()));
    (shown, screen)
}

#[test]
fn lines_are_whole_and_behind_their_names() {
    let (shown, screen) = screen(false);
    let unit = Log::new(&screen, Some(prefix("unit", 5, 0, false)), false);
    let build = Log::new(&screen, Some(prefix("build", 5, 1, false)), false);
    for (log, text) in [
        (&unit, "one\ntw"),
        (&build, "a 10%\ra 100%\r\n\nb"),
        (&unit, "o\nend"),
    ] {
        log.clone().write_all(text.as_bytes()).expect("memory");
    }
    unit.finish().expect("memory");
    build.finish().expect("memory");
    assert_eq!(
        shown.text(),
        "unit  | one\nbuild | a 100%\nbuild | \nunit  | two\nunit  | end\nbuild | b\n"
    );
}

#[test]
fn colours_end_with_their_line_and_names_lead_no_terminal() {
    let (shown, screen) = screen(true);
    let name = prefix("a\x1b[2Jb", 7, 1, true);
    assert!(
        !name.contains("[2J") || name.contains("\u{fffd}[2J"),
        "{name:?}"
    );
    let mut log = Log::new(&screen, Some("> ".to_owned()), false);
    log.write_all(b"\x1b[31mred\nplain\n").expect("memory");
    assert_eq!(shown.text(), "> \x1b[31mred\x1b[0m\n> plain\n");
}

#[test]
fn a_terminal_is_shown_nothing_that_it_would_obey() {
    for (terminal, want) in [
        (true, "titled\r\x1b[K\x1b[31mred\x1b[0m"),
        (false, "titled\x1b]0;evil\x07\r\x1b[K\x1b[31mred"),
    ] {
        let shown = Shown::default();
        let screen =
            Screen::new(Box::new(shown.clone()), true, Cancel::new()).on_terminal(terminal);
        let mut log = Log::new(&Arc::new(screen), None, false);
        for part in ["titled\x1b]0;ev", "il\x07\r\x1b[K\x1b[3", "1mred"] {
            log.write_all(part.as_bytes()).expect("memory");
        }
        log.finish().expect("memory");
        assert_eq!(shown.text(), want);
    }
}

#[test]
fn a_copy_is_the_log_by_itself_and_leads_no_terminal() {
    let (shown, screen) = screen(false);
    let mut log = Log::new(&screen, Some("a | ".to_owned()), true).copied();
    for part in ["one\n\x1b]0;ev", "il\x07tw", "o"] {
        log.write_all(part.as_bytes()).expect("memory");
    }
    let mut text = String::new();
    let copy = log.take_copy().expect("memory");
    copy.expect("one").read_to_string(&mut text).expect("UTF-8");
    assert_eq!((text.as_str(), shown.text().as_str()), ("one\ntwo", ""));
    assert!(log.take_copy().expect("memory").is_none());
}

#[test]
fn a_copy_ends_where_it_is_too_long_and_says_so() {
    let (shown, screen) = screen(false);
    let mut log = Log::new(&screen, None, false).copied_up_to(1);
    let line = [&[b'x'; 999][..], b"\n"].concat();
    for _ in 0..1500 {
        log.write_all(&line).expect("memory");
    }
    assert_eq!(shown.text().len(), 1_500_000);
    let mut text = String::new();
    let copy = log.take_copy().expect("a file").expect("one");
    copy.take(2_000_000)
        .read_to_string(&mut text)
        .expect("UTF-8");
    assert!(text.ends_with("x\n\n[the log is cut here: 1 MB of it are kept]\n"));
    assert_eq!(text.matches('x').count(), 999_000);
}

#[test]
fn what_is_kept_back_is_shown_whole_or_not_at_all() {
    let (shown, screen) = screen(false);
    let mut log = Log::new(&screen, Some("a | ".to_owned()), true);
    log.write_all(b"one\ntwo").expect("memory");
    log.finish().expect("memory");
    assert_eq!(shown.text(), "");
    log.show().expect("memory");
    assert_eq!(shown.text(), "a | one\na | two\n");
}

#[test]
fn a_status_is_below_everything_and_never_in_a_line() {
    let (shown, screen) = screen(false);
    screen.set_status("busy");
    screen.write(b"one\n").expect("memory");
    screen.write(b"half").expect("memory");
    screen.set_status("still");
    screen.write(b" and half\n").expect("memory");
    screen.set_status("");
    let (busy, still) = ("busy\r", "still\r");
    let (erase, text) = ("\r\x1b[K", shown.text());
    let want = format!("{busy}{erase}one\n{busy}{erase}half and half\n{still}{erase}");
    assert_eq!(text, want);
}

#[test]
fn a_line_without_end_is_torn() {
    let (shown, screen) = screen(false);
    let mut log = Log::new(&screen, Some("a | ".to_owned()), false);
    log.write_all(&vec![b'x'; 100_000]).expect("memory");
    assert!(shown.text().len() >= 64 * 1024, "nothing waits for ever");
}
