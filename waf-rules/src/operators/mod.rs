//! What rules ask of a value.
//!
//! One enum, one match. An operator is made once, when rules are compiled, and
//! only reads afterwards. Source: "Operators", ModSecurity v3 reference manual.

mod byte_range;
pub(crate) mod compare;
mod contains_word;
mod dialect;
mod injection;
mod ip_match;
mod pm;
mod rx;
mod url_encoding;

use memchr::memmem;

use self::{byte_range::ByteRange, compare::Comparison, ip_match::IpMatch, pm::Pm, rx::Rx};
use crate::{
    error::Complaint,
    inject::is_html_injection,
    prefilter::{ByteSet, Need, is_rare},
    source::RuleSource,
    transaction::State,
    variables::Expansion,
};

/// An operator with its argument.
#[derive(Clone, Debug)]
pub(crate) enum Operator {
    BeginsWith(Expansion),
    Contains(Expansion),
    ContainsWord(Expansion),
    DetectSqli,
    DetectXss,
    EndsWith(Expansion),
    Compare(Comparison, Expansion),
    IpMatch(IpMatch),
    NoMatch,
    Pm(Pm),
    Rx(Rx),
    StrEq(Expansion),
    UnconditionalMatch,
    ValidateByteRange(Box<ByteRange>),
    ValidateUrlEncoding,
    ValidateUtf8Encoding,
    Within(Expansion),
}

/// What an operator found: the groups of `@rx`, the words of `@pm`, the
/// fingerprint of `@detectSQLi`. Empty where the rule does not capture.
pub(crate) type Captures = Vec<Vec<u8>>;

/// Names of the operators that are here.
const KNOWN: &[&str] = &[
    "beginsWith",
    "contains",
    "containsWord",
    "detectSQLi",
    "detectXSS",
    "endsWith",
    "eq",
    "ge",
    "gt",
    "ipMatch",
    "ipMatchF",
    "ipMatchFromFile",
    "le",
    "lt",
    "noMatch",
    "pm",
    "pmFromFile",
    "pmf",
    "rx",
    "rxGlobal",
    "streq",
    "strmatch",
    "unconditionalMatch",
    "validateByteRange",
    "validateUrlEncoding",
    "validateUtf8Encoding",
    "within",
];

/// Names of the operators of ModSecurity that are not.
const REFUSED: &[&str] = &[
    "fuzzyHash",
    "geoLookup",
    "gsbLookup",
    "inspectFile",
    "rbl",
    "rsub",
    "validateDTD",
    "validateHash",
    "validateSchema",
    "verifyCC",
    "verifyCPF",
    "verifySSN",
    "verifySVNR",
];

impl Operator {
    /// Makes an operator from its SecLang name, in any case, and its argument.
    pub(crate) fn resolve(
        name: &str,
        argument: &str,
        source: &dyn RuleSource,
    ) -> Result<Self, Complaint> {
        let text = || {
            let expansion = Expansion::parse(argument)?;
            match expansion.literal() {
                Some(b"") => Err(Complaint::new(format!("@{name} needs an argument"))),
                _ => Ok(expansion),
            }
        };
        let number = |comparison| {
            let expansion = text()?;
            match expansion.literal() {
                Some(literal) if !compare::is_number(literal) => Err(Complaint::new(format!(
                    "@{name} needs a number, found {argument:?}"
                ))),
                _ => Ok(Self::Compare(comparison, expansion)),
            }
        };
        Ok(match name.to_ascii_lowercase().as_str() {
            "beginswith" => Self::BeginsWith(text()?),
            "contains" | "strmatch" => Self::Contains(text()?),
            "containsword" => Self::ContainsWord(text()?),
            "detectsqli" => Self::DetectSqli,
            "detectxss" => Self::DetectXss,
            "endswith" => Self::EndsWith(text()?),
            "eq" => number(Comparison::Equal)?,
            "ge" => number(Comparison::GreaterOrEqual)?,
            "gt" => number(Comparison::Greater)?,
            "le" => number(Comparison::LessOrEqual)?,
            "lt" => number(Comparison::Less)?,
            "ipmatch" => Self::IpMatch(IpMatch::parse(argument)?),
            "ipmatchfromfile" | "ipmatchf" => Self::IpMatch(IpMatch::files(argument, source)?),
            "nomatch" => Self::NoMatch,
            "pm" => Self::Pm(Pm::words(argument)?),
            "pmfromfile" | "pmf" => Self::Pm(Pm::files(argument, source)?),
            "rx" => Self::expression(argument)?,
            "rxglobal" => Self::Rx(Rx::compile(argument)?.global()),
            // An empty argument is meaningful here.
            "streq" => Self::StrEq(Expansion::parse(argument)?),
            "unconditionalmatch" => Self::UnconditionalMatch,
            "validatebyterange" => Self::ValidateByteRange(Box::new(ByteRange::parse(argument)?)),
            "validateurlencoding" => Self::ValidateUrlEncoding,
            "validateutf8encoding" => Self::ValidateUtf8Encoding,
            "within" => Self::Within(text()?),
            _ if REFUSED.iter().any(|known| known.eq_ignore_ascii_case(name)) => {
                return Err(Complaint::unsupported("operator", &format!("@{name}")));
            }
            _ => {
                return Err(Complaint::unknown(
                    "operator",
                    &format!("@{name}"),
                    KNOWN.iter().copied(),
                ));
            }
        })
    }

    /// Makes `@rx` of its argument.
    pub(crate) fn expression(pattern: &str) -> Result<Self, Complaint> {
        Rx::compile(pattern).map(Self::Rx)
    }

    /// Literals of which every value that matches has one, without regard to case;
    /// `None` where it has to be asked.
    pub(crate) fn literals(&self) -> Option<Vec<Vec<u8>>> {
        let one = |text: &Expansion| {
            let literal = text.literal().filter(|literal| is_rare(literal))?;
            Some(vec![literal.to_ascii_lowercase()])
        };
        match self {
            Self::Rx(rx) => rx.literals(),
            Self::Pm(pm) => pm.literals(),
            Self::BeginsWith(text)
            | Self::Contains(text)
            | Self::ContainsWord(text)
            | Self::EndsWith(text)
            | Self::StrEq(text) => one(text),
            Self::NoMatch => Some(Vec::new()),
            // A tag, or an attribute with a value.
            Self::DetectXss => Some(vec![b"<".to_vec(), b"=".to_vec()]),
            Self::Compare(..)
            | Self::DetectSqli
            | Self::IpMatch(_)
            | Self::UnconditionalMatch
            | Self::ValidateByteRange(_)
            | Self::ValidateUrlEncoding
            | Self::ValidateUtf8Encoding
            | Self::Within(_) => None,
        }
    }

    /// The argument, where it is a text.
    pub(crate) fn argument(&self) -> Option<&Expansion> {
        match self {
            Self::BeginsWith(text)
            | Self::Compare(_, text)
            | Self::Contains(text)
            | Self::ContainsWord(text)
            | Self::EndsWith(text)
            | Self::StrEq(text)
            | Self::Within(text) => Some(text),
            Self::DetectSqli
            | Self::DetectXss
            | Self::IpMatch(_)
            | Self::NoMatch
            | Self::Pm(_)
            | Self::Rx(_)
            | Self::UnconditionalMatch
            | Self::ValidateByteRange(_)
            | Self::ValidateUrlEncoding
            | Self::ValidateUtf8Encoding => None,
        }
    }

    /// What every value that matches has, for operators without literals.
    pub(crate) fn need(&self) -> Option<Need> {
        let need = match self {
            Self::Rx(rx) => rx.need(),
            Self::BeginsWith(text)
            | Self::Contains(text)
            | Self::ContainsWord(text)
            | Self::EndsWith(text)
            | Self::StrEq(text) => Need::text(text.literal()?),
            // One word is none, whatever it says.
            Self::DetectSqli => Need::one_of(ByteSet::from_fn(|byte| {
                !byte.is_ascii_alphabetic() && byte != b'_'
            })),
            Self::ValidateByteRange(range) => Need::one_of(range.others()),
            Self::ValidateUrlEncoding => Need::one_of(ByteSet::of(b"%")),
            Self::ValidateUtf8Encoding => Need::one_of(ByteSet::from_fn(|byte| !byte.is_ascii())),
            Self::Compare(..)
            | Self::DetectXss
            | Self::IpMatch(_)
            | Self::NoMatch
            | Self::Pm(_)
            | Self::UnconditionalMatch
            | Self::Within(_) => return None,
        };
        need.is_useful().then_some(need)
    }

    /// Asks the operator about a value; `capture` tells whether its finds matter.
    pub(crate) fn evaluate(&self, value: &[u8], state: &State, capture: bool) -> Option<Captures> {
        let holds = match self {
            Self::Rx(rx) => return rx.find(value, capture),
            Self::Pm(pm) => return pm.find(value, capture),
            Self::DetectSqli => return injection::sql(value, capture),
            Self::DetectXss => is_html_injection(value),
            Self::BeginsWith(text) => value.starts_with(&text.expand(state)),
            Self::Contains(text) => memmem::find(value, &text.expand(state)).is_some(),
            Self::ContainsWord(text) => contains_word::contains_word(value, &text.expand(state)),
            Self::EndsWith(text) => value.ends_with(&text.expand(state)),
            Self::Compare(comparison, text) => comparison.holds(value, &text.expand(state)),
            Self::IpMatch(networks) => networks.contains(value),
            Self::NoMatch => false,
            Self::StrEq(text) => value == text.expand(state).as_ref(),
            Self::UnconditionalMatch => true,
            Self::ValidateByteRange(range) => !range.allows(value),
            Self::ValidateUrlEncoding => !url_encoding::is_valid(value),
            Self::ValidateUtf8Encoding => std::str::from_utf8(value).is_err(),
            Self::Within(text) => memmem::find(&text.expand(state), value).is_some(),
        };
        let found = || {
            if capture {
                vec![value.to_vec()]
            } else {
                Vec::new()
            }
        };
        holds.then(found)
    }
}
