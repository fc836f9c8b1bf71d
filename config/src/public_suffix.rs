//! Names below which others than one owner have theirs (the [Public Suffix List](https://publicsuffix.org)).

/// A label that no rule of the list has.
const ANY_LABEL: &str = "portcullis-any-label";

/// Whether anybody may have a name below this one, in lower case: it is a public suffix, or what stands
/// right below it is one, whatever that is. Of the second kind are names like `compute.amazonaws.com`, of
/// which the list has `*.compute.amazonaws.com` and no rule for the name itself.
pub fn is_public(name: &str) -> bool {
    let below = format!("{ANY_LABEL}.{name}");
    psl::suffix_str(name) == Some(name) || psl::suffix_str(&below) == Some(below.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_many_owners_are_known_and_those_of_one_are_not() {
        for (name, expected) in [
            ("com", true),
            ("co.uk", true),
            ("github.io", true),
            ("unlisted-zone", true),
            // Wildcards of the list, and what is right below them.
            ("compute.amazonaws.com", true),
            ("eu-west-1.compute.amazonaws.com", true),
            ("elb.amazonaws.com", true),
            ("kawasaki.jp", true),
            ("ck", true),
            // Exceptions to those.
            ("city.kawasaki.jp", false),
            ("www.ck", false),
            ("example.com", false),
            ("packages.example.com", false),
            ("amazonaws.com", false),
            ("a.b.unlisted-zone", false),
            ("zone.unlisted-zone", false),
        ] {
            assert_eq!(is_public(name), expected, "{name}");
        }
    }
}
