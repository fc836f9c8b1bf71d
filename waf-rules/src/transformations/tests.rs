use std::borrow::Cow;

use serde::Deserialize;

use super::{Classes, Transformation};

/// One row of `tests/data/transformations.json`. Bytes are written as the
/// characters U+0000 to U+00FF.
#[derive(Deserialize)]
struct Case {
    name: String,
    input: String,
    output: String,
}

#[test]
fn every_row_of_the_table_holds() {
    let cases: Vec<Case> =
        serde_json::from_str(include_str!("../../tests/data/transformations.json")).unwrap();
    for case in &cases {
        let transformation = Transformation::find(&case.name).unwrap();
        let output = transformation.apply(Cow::Owned(bytes(&case.input)));
        let shown: String = output.iter().map(|byte| char::from(*byte)).collect();
        assert_eq!(shown, case.output, "t:{} of {:?}", case.name, case.input);
    }
    for (name, _) in Transformation::ALL {
        assert!(
            cases.iter().any(|case| case.name == *name),
            "no row for t:{name}"
        );
    }
}

#[test]
fn a_wrong_name_gets_a_hint() {
    let complaint = Transformation::find("urlDecodUni").unwrap_err();
    assert_eq!(
        complaint.hint.as_deref(),
        Some("did you mean urlDecodeUni?")
    );
}

proptest::proptest! {
    #[test]
    fn no_input_panics(input: Vec<u8>) {
        for (_, transformation) in Transformation::ALL {
            transformation.apply(Cow::Borrowed(&input));
        }
    }

    #[test]
    fn what_is_not_touched_stays_as_it_is(input in r#"([\\%&#xu{}0-9A-Za-f;/.*<!,'"^ \t\x00-]|\PC){0,6}"#) {
        let each = input.bytes().map(Classes::of_byte);
        let classes = each.fold(Classes::of_all(input.as_bytes()), Classes::and);
        for (name, transformation) in Transformation::ALL {
            if !classes.meets(transformation.touches()) {
                let output = transformation.apply(Cow::Borrowed(input.as_bytes()));
                proptest::prop_assert_eq!(&*output, input.as_bytes(), "t:{}", name);
            }
        }
    }

    #[test]
    fn escapes_never_panic(input in r"([\\%&#xu{}0-9a-f;/.*<!-]|\PC){0,24}") {
        for (_, transformation) in Transformation::ALL {
            transformation.apply(Cow::Borrowed(input.as_bytes()));
        }
    }
}

fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(c).unwrap()).collect()
}
