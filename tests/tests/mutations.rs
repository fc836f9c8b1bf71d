//! The list of rules that are taken out of the code: it is of the code of now.
//!
//! That a test fails without each is shown by `cargo run -p portcullis-tests --bin mutations`.

use std::collections::BTreeSet;

use portcullis_tests::Mutations;

#[test]
fn every_mutation_is_of_the_code_and_complete() {
    let list = Mutations::read();
    assert!(list.rules.len() > 200, "{}", list.rules.len());
    let mut names = BTreeSet::new();
    for (rule, why) in &list.without {
        assert!(names.insert(rule.clone()) && !why.is_empty(), "{rule}");
    }
    for mutation in &list.rules {
        let rule = &mutation.rule;
        for name in mutation.mutants() {
            assert!(
                !rule.is_empty() && names.insert(name),
                "{rule} is there twice"
            );
        }
        let changes = mutation.changes();
        for change in &changes {
            let count = change.count();
            let (file, find) = (&change.file, &change.find);
            assert_eq!(count, 1, "{rule}: {file} has {find:?} so often");
        }
        let mut texts = changes.iter().map(|change| &change.replace);
        assert!(texts.any(|text| text.contains("OFF")), "{rule} has no OFF");
        // A part that is asked for by what it is at run time is none of the text.
        let asks = |part: &String| {
            let part = format!("OFF({part:?})");
            let is_there = |text: &str| {
                text.contains(&part) || text.contains("OFF(&") || text.contains("OFF(name)")
            };
            changes.iter().any(|change| is_there(&change.replace))
        };
        assert!(
            mutation.each.iter().all(asks),
            "{rule}: {:?}",
            mutation.each
        );
        let (program, filters) = mutation.program();
        let is_program = matches!(
            program.as_slice(),
            ["-p", "portcullis" | "portcullis-config", "--lib"]
                | ["-p", "portcullis-config" | "portcullis-tests", "--test", _]
        );
        assert!(is_program, "{rule}: {program:?}");
        assert!(
            filters.iter().all(|filter| !filter.starts_with('-')),
            "{rule}"
        );
    }
}
