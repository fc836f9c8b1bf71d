//! Code that is taken out one piece at a time: all pieces go into one copy of the work tree,
//! which is built once, and a variable of the environment says which of them is out.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;

/// Variable that names the mutant that is on.
pub const MUTANT: &str = "PORTCULLIS_MUTANT";

/// What is put into each crate that has a mutant.
const SWITCH: &str = r#"
#[doc(hidden)]
pub mod mutants {
    fn on() -> &'static str {
        static ON: std::sync::OnceLock<String> = std::sync::OnceLock::new();
        ON.get_or_init(|| std::env::var("PORTCULLIS_MUTANT").unwrap_or_default())
    }

    pub fn off(name: &str) -> bool {
        on() == name
    }

    pub fn off_part(name: &str, part: &str) -> bool {
        on().strip_prefix(name).and_then(|rest| rest.strip_prefix(": ")) == Some(part)
    }
}
"#;

/// A text that takes the place of another.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The file, from the root of the workspace.
    pub file: String,
    /// Text that is there just once.
    pub find: String,
    /// Rust that takes its place: `OFF` asks for the mutant, `OFF(part)` for one of several.
    pub replace: String,
}

impl Change {
    /// How often its text is in the file of now.
    pub fn count(&self) -> usize {
        let code = fs::read_to_string(root().join(&self.file)).unwrap_or_default();
        code.matches(&self.find).count()
    }

    /// What takes the place of the text for a mutant.
    fn code(&self, mutant: &str) -> String {
        let name = format!("{mutant:?}");
        self.replace
            .replace("OFF(", &format!("crate::mutants::off_part({name}, "))
            .replace("OFF", &format!("crate::mutants::off({name})"))
    }
}

/// The folder of the workspace.
pub fn root() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).to_owned()
}

/// Copies the work tree with its mutants, each by its name; what is there and the same keeps its
/// time, so that it is not built again.
///
/// # Panics
/// Where git does not run, a file is not there, a text is not in its file or another mutant is
/// there too.
pub fn copy_with_mutants(to: &Path, mutants: &[(String, Change)]) {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others"])
        .arg("--exclude-standard")
        .current_dir(root())
        .output()
        .expect("git runs");
    for name in String::from_utf8_lossy(&listed.stdout).split_terminator('\0') {
        // One that is listed may have been removed since.
        let Ok(mut bytes) = fs::read(root().join(name)) else {
            continue;
        };
        if mutants.iter().any(|(_, change)| change.file == name) {
            let code = String::from_utf8(bytes).expect("code is UTF-8");
            bytes = mutated(&code, name, mutants).into_bytes();
        }
        match name {
            "config/src/lib.rs" | "gateway/src/lib.rs" => bytes.extend(SWITCH.as_bytes()),
            "Cargo.toml" | "Cargo.lock" => {
                bytes = renumbered(&String::from_utf8_lossy(&bytes)).into_bytes();
            }
            _ => {}
        }
        let to = to.join(name);
        if fs::read(&to).is_ok_and(|before| before == bytes) {
            continue;
        }
        fs::create_dir_all(to.parent().expect("a folder")).expect("a folder can be made");
        fs::write(to, bytes).expect("the copy is writable");
    }
}

/// A manifest, or the lock, with a version of our packages that only the copy has: where both are
/// built in one target folder, cargo takes libraries of the same version for the same.
fn renumbered(text: &str) -> String {
    let version = concat!("version = \"", env!("CARGO_PKG_VERSION"));
    let (mut out, mut is_ours) = (String::new(), false);
    for line in text.lines() {
        match line.strip_prefix(version).filter(|_| is_ours) {
            Some(rest) => out += &format!("{version}-mutants{rest}\n"),
            None => out += &format!("{line}\n"),
        }
        is_ours = line == "[workspace.package]" || line.starts_with("name = \"portcullis");
    }
    out
}

/// A file with its mutants; each place is that of one of them alone.
fn mutated(code: &str, file: &str, mutants: &[(String, Change)]) -> String {
    let mut places: Vec<(usize, &String, &Change)> = mutants
        .iter()
        .filter(|(_, change)| change.file == file)
        .map(|(name, change)| {
            let at = code.find(&change.find);
            let at = at.unwrap_or_else(|| panic!("{name} is not there"));
            (at, name, change)
        })
        .collect();
    places.sort_by_key(|(at, ..)| *at);
    let (mut out, mut end) = (String::new(), 0);
    for (at, name, change) in places {
        assert!(at >= end, "{name}: another mutant is there");
        out += &code[end..at];
        out += &change.code(name);
        end = at + change.find.len();
    }
    out + &code[end..]
}
