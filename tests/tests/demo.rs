//! The first thing a person runs: every command that the demo prints does what it says.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use portcullis_tests::portcullis;

struct Demo {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Demo {
    fn start() -> Self {
        let mut child = Command::new(portcullis())
            .args(["demo", "--seconds", "60"])
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the binary starts");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    fn line(&self) -> String {
        self.lines
            .recv_timeout(Duration::from_secs(20))
            .expect("the demo speaks")
    }

    /// What it prints to try: title and command.
    fn guide(&self) -> Vec<(String, String)> {
        let mut steps = Vec::new();
        let mut title = String::new();
        loop {
            let line = self.line();
            if line.starts_with("Each decision") {
                return steps;
            }
            match line.trim().strip_prefix("# ") {
                Some(text) => title = text.to_owned(),
                None if !title.is_empty() && !line.trim().is_empty() => {
                    steps.push((std::mem::take(&mut title), line.trim().to_owned()));
                }
                None => {}
            }
        }
    }

    /// The next decision that is shown.
    fn decision(&self) -> String {
        loop {
            let line = self.line();
            if line.starts_with("in ") || line.starts_with("out") {
                return line;
            }
        }
    }
}

fn shell(command: &str) -> String {
    let output = Command::new("bash")
        .args(["-c", command])
        .output()
        .expect("bash runs");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn what_the_demo_prints_works_as_printed() {
    let demo = Demo::start();
    let steps = demo.guide();
    assert!(steps.len() >= 10, "{steps:#?}");
    for (title, command) in &steps {
        let told = |text: &str| title.contains(text);
        if told("edit this file") {
            continue;
        }
        let output = shell(command);
        let (expected, shown) = if told("burst") {
            ("429", "429")
        } else if told("not listed") {
            ("403", "403")
        } else if told("403") || told("the same in a JSON body") {
            ("\"status\":403", "403")
        } else if told("metrics") {
            ("portcullis_requests_total", "")
        } else if told("configuration") {
            ("routes:", "")
        } else {
            ("", "200")
        };
        assert!(
            !output.is_empty() && output.contains(expected),
            "{title}: {command}\n{output}"
        );
        if shown.is_empty() {
            continue;
        }
        // It is shown as it happens; of a burst, the first are let through.
        while !demo.decision().contains(&format!("  {shown}  ")) {}
    }
    // The file may be edited: the change takes effect.
    let (_, edit) = steps
        .iter()
        .find(|(title, _)| title.contains("edit this file"))
        .expect("a line on editing");
    let file = edit.rsplit(' ').next().expect("a path");
    let text = std::fs::read_to_string(file).expect("it is there");
    std::fs::write(file, text.replace("hosts:", "hots:") + "\nnonsense: true\n").expect("writable");
    let (_, good) = &steps[0];
    let status = format!("{good} -o /dev/null -w '%{{http_code}}'");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(shell(&status), "200", "a bad file changes nothing");
    let closed = text.replace(
        "routes:",
        "routes:\n  - name: closed\n    rules:\n      - matches: [{path: {exact: /hello}}]\n",
    );
    assert_ne!(closed, text);
    std::fs::write(file, closed).expect("writable");
    portcullis_tests::wait_for("the change", || shell(&status) != "200");
}

#[test]
fn the_demo_tidies_up_however_it_is_ended() {
    for signal in ["TERM", "INT", "HUP"] {
        let mut demo = Demo::start();
        // The folder is named in the first lines; nothing that is printed comes
        // before what a signal would have to tidy up.
        demo.line();
        let id = demo.child.id();
        let folder = std::env::temp_dir().join(format!("portcullis-demo-{id}"));
        assert!(folder.exists());
        shell(&format!("kill -s {signal} {id}"));
        portcullis_tests::wait_for("the end", || {
            demo.child
                .try_wait()
                .expect("a child can be asked")
                .is_some()
        });
        assert!(!folder.exists(), "after SIG{signal}");
    }
}
