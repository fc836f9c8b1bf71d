//! Takes rules of the egress proxy out of a copy of the code, one at a time: a test must fail
//! without each.
//!
//! ```text
//! work tree --copy, all mutants--> build --no mutant on--> the tests pass
//! each mutant on --its tests--> one fails: killed; all pass: SURVIVED
//! ```
//!
//! `mutations/egress.yaml` lists them; each argument is a part of the names, or of the tests, of
//! those to run. A line for each tells the tests that failed without it, and the last line how many there
//! were. The exit code is 1 where one survived, or could not be judged.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{Read, Seek},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use portcullis_tests::{MUTANT, Mutation, Mutations, cargo, copy_with_mutants};
use serde_json::Value;

/// Longest run of the tests of a mutant. What they wait for in vain ends them much sooner.
const LIMIT: Duration = Duration::from_secs(180);

fn main() -> anyhow::Result<ExitCode> {
    let filters: Vec<String> = env::args().skip(1).collect();
    let is_asked_for = |text: &str| filters.iter().any(|part| text.contains(part));
    let list = Mutations::read().rules;
    let mutants = list.iter().flat_map(|rule| {
        let names = rule.mutants().into_iter();
        names.map(move |name| (name, rule))
    });
    let wanted: Vec<(String, &Mutation)> = mutants
        .filter(|(name, rule)| filters.is_empty() || is_asked_for(name) || is_asked_for(&rule.test))
        .collect();
    let built = Built::new(&list, wanted.iter().map(|(_, rule)| *rule))?;
    let mut tests: Vec<&Mutation> = wanted.iter().map(|(_, rule)| *rule).collect();
    tests.sort_by_key(|rule| &rule.test);
    tests.dedup_by_key(|rule| &rule.test);
    for rule in &tests {
        let failed = built.run(rule, "");
        let failed = failed.with_context(|| format!("{}, without a mutant", rule.test))?;
        ensure!(failed.is_empty(), "{failed:?} fail without a mutant");
    }
    println!("{} filters of tests pass without a mutant", tests.len());
    let (mut killed, mut wrong) = (0, Vec::new());
    for (name, rule) in &wanted {
        let line = match built.run(rule, name) {
            Ok(failed) if failed.is_empty() => format!("SURVIVED  {name}"),
            Ok(failed) => {
                killed += 1;
                println!("killed    {name}  ({})", failed.join(", "));
                continue;
            }
            Err(why) => format!("BROKEN    {name}\n{why:#}"),
        };
        println!("{line}");
        wrong.push(line);
    }
    println!("\n{}", wrong.join("\n"));
    let [all, survived] = [wanted.len(), wrong.len()];
    println!("{all} mutants: {killed} killed, {survived} survived or broken");
    Ok(match wrong.is_empty() && all > 0 {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Test programs of the copy.
struct Built {
    /// By what `cargo test` is told to build, each with the folder of its package.
    programs: BTreeMap<Vec<String>, (PathBuf, PathBuf)>,
    /// A gateway with all mutants.
    gateway: PathBuf,
}

impl Built {
    /// Makes a copy with all mutants, and builds what the tests of some need.
    ///
    /// # Errors
    /// What does not build.
    fn new<'a>(
        list: &[Mutation],
        wanted: impl Iterator<Item = &'a Mutation>,
    ) -> anyhow::Result<Self> {
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(target) => PathBuf::from(target),
            None => portcullis_tests::root().join("target/mutations"),
        };
        // In the same place each time, where little of it is built again.
        let code = target.join("mutations");
        let changes = list.iter().flat_map(|rule| {
            let changes = rule.changes().into_iter();
            changes.map(|change| (rule.rule.clone(), change))
        });
        copy_with_mutants(&code, &changes.collect::<Vec<_>>());
        let mut built = Self {
            programs: BTreeMap::new(),
            gateway: target.join("portcullis-with-mutants"),
        };
        let mut has_gateway = false;
        for rule in wanted {
            let program = rule.program().0;
            let key: Vec<String> = program.iter().map(|word| (*word).to_owned()).collect();
            if built.programs.contains_key(&key) {
                continue;
            }
            if program.contains(&"portcullis-tests") && !has_gateway {
                let (made, _) = build(&code, &target, &["build", "-p", "portcullis"])?;
                // Nobody is to take it for one without mutants.
                fs::rename(made, &built.gateway)?;
                has_gateway = true;
            }
            let arguments = [&["test", "--no-run"][..], &program].concat();
            built
                .programs
                .insert(key, build(&code, &target, &arguments)?);
        }
        Ok(built)
    }

    /// The tests of a rule that fail with a mutant on.
    ///
    /// # Errors
    /// A run that neither passes nor fails: without a test, or without an end.
    fn run(&self, rule: &Mutation, mutant: &str) -> anyhow::Result<Vec<String>> {
        let (program, filters) = rule.program();
        let program: Vec<String> = program.into_iter().map(str::to_owned).collect();
        let (program, folder) = self.programs.get(&program).context("it was built")?;
        let mut command = Command::new(program);
        command
            .args(filters)
            .env(MUTANT, mutant)
            .env("PORTCULLIS_BIN", &self.gateway)
            .current_dir(folder);
        let (is_good, text) = within(&mut command, LIMIT)?;
        let tests = text
            .lines()
            .filter_map(|line| line.strip_prefix("test ")?.split_once(" ... "));
        let (mut passed, mut failed) = (0, Vec::new());
        for (name, outcome) in tests {
            match outcome {
                "ok" => passed += 1,
                "FAILED" => failed.push(name.to_owned()),
                _ => {}
            }
        }
        match (is_good, failed.is_empty()) {
            (true, true) if passed > 0 => Ok(failed),
            (false, false) => Ok(failed),
            _ => bail!("{passed} tests passed, and none failed:\n{text}"),
        }
    }
}

/// Builds one thing of the copy: the program, and the folder of its package.
///
/// # Errors
/// It does not build.
fn build(code: &Path, target: &Path, arguments: &[&str]) -> anyhow::Result<(PathBuf, PathBuf)> {
    println!("cargo {}", arguments.join(" "));
    let output = cargo()
        .args(arguments)
        .args([
            "--locked",
            "--quiet",
            "--message-format",
            "json-render-diagnostics",
        ])
        .arg("--target-dir")
        .arg(target)
        .current_dir(code)
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "it does not build");
    let text = String::from_utf8(output.stdout)?;
    let mut made = None;
    for line in text.lines() {
        let message: Value = serde_json::from_str(line)?;
        let of = |field: &str| message[field].as_str().map(PathBuf::from);
        if let (Some(program), Some(manifest)) = (of("executable"), of("manifest_path")) {
            let folder = manifest.parent().context("a manifest has a folder")?;
            made = Some((program, folder.to_owned()));
        }
    }
    made.context("it makes no program")
}

/// Runs a command, and ends it and what it has started when it takes too long: whether it
/// succeeded, and what it printed.
///
/// # Errors
/// It took too long, or does not run at all.
fn within(command: &mut Command, limit: Duration) -> anyhow::Result<(bool, String)> {
    let mut output = tempfile::tempfile()?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?)
        .process_group(0)
        .spawn()?;
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if began.elapsed() > limit {
            killpg(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGKILL)?;
            child.wait()?;
            bail!("it did not end within {} s", limit.as_secs());
        }
        sleep(Duration::from_millis(20));
    };
    let mut bytes = Vec::new();
    output.rewind()?;
    output.read_to_end(&mut bytes)?;
    Ok((
        status.success(),
        String::from_utf8_lossy(&bytes).into_owned(),
    ))
}
