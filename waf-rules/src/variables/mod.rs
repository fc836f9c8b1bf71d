//! What rules look at.
//!
//! A [`Variable`] is a name of SecLang; a [`Selector`] picks from a collection;
//! `values` reads one out of the [`State`] of a transaction. Reading borrows
//! where it can. Source: "Variables", ModSecurity v3 reference manual.

mod clock;
mod expansion;
mod selector;
mod values;

pub(crate) use expansion::Expansion;
pub(crate) use selector::{Selector, Target, TargetPattern, reason};
pub(crate) use values::{fields, nth, same_values, visit, visit_target};

use crate::error::Complaint;

macro_rules! variables {
    ($($variant:ident $name:literal $shape:ident,)*) => {
        /// A variable of SecLang.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Variable { $($variant,)* }

        impl Variable {
            pub(crate) const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the SecLang name.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Tells whether the variable has values by name.
            pub(crate) fn is_collection(self) -> bool {
                match self { $(Self::$variant => variables!(@$shape),)* }
            }
        }
    };
    (@many) => { true };
    (@one) => { false };
}

variables! {
    Args "ARGS" many,
    ArgsNames "ARGS_NAMES" many,
    ArgsGet "ARGS_GET" many,
    ArgsGetNames "ARGS_GET_NAMES" many,
    ArgsPost "ARGS_POST" many,
    ArgsPostNames "ARGS_POST_NAMES" many,
    ArgsCombinedSize "ARGS_COMBINED_SIZE" one,
    AuthType "AUTH_TYPE" one,
    Duration "DURATION" one,
    Files "FILES" many,
    FilesNames "FILES_NAMES" many,
    FilesSizes "FILES_SIZES" many,
    FilesCombinedSize "FILES_COMBINED_SIZE" one,
    FullRequest "FULL_REQUEST" one,
    FullRequestLength "FULL_REQUEST_LENGTH" one,
    Global "GLOBAL" many,
    HighestSeverity "HIGHEST_SEVERITY" one,
    Ip "IP" many,
    InboundDataError "INBOUND_DATA_ERROR" one,
    MatchedVar "MATCHED_VAR" one,
    MatchedVarName "MATCHED_VAR_NAME" one,
    MatchedVars "MATCHED_VARS" many,
    MatchedVarsNames "MATCHED_VARS_NAMES" many,
    MultipartBoundaryQuoted "MULTIPART_BOUNDARY_QUOTED" one,
    MultipartBoundaryWhitespace "MULTIPART_BOUNDARY_WHITESPACE" one,
    MultipartCrlfLfLines "MULTIPART_CRLF_LF_LINES" one,
    MultipartDataAfter "MULTIPART_DATA_AFTER" one,
    MultipartDataBefore "MULTIPART_DATA_BEFORE" one,
    MultipartFileLimitExceeded "MULTIPART_FILE_LIMIT_EXCEEDED" one,
    MultipartFilename "MULTIPART_FILENAME" many,
    MultipartHeaderFolding "MULTIPART_HEADER_FOLDING" one,
    MultipartInvalidHeaderFolding "MULTIPART_INVALID_HEADER_FOLDING" one,
    MultipartInvalidPart "MULTIPART_INVALID_PART" one,
    MultipartInvalidQuoting "MULTIPART_INVALID_QUOTING" one,
    MultipartLfLine "MULTIPART_LF_LINE" one,
    MultipartMissingSemicolon "MULTIPART_MISSING_SEMICOLON" one,
    MultipartName "MULTIPART_NAME" many,
    MultipartPartHeaders "MULTIPART_PART_HEADERS" many,
    MultipartSemicolonMissing "MULTIPART_SEMICOLON_MISSING" one,
    MultipartStrictError "MULTIPART_STRICT_ERROR" one,
    MultipartUnmatchedBoundary "MULTIPART_UNMATCHED_BOUNDARY" one,
    OutboundDataError "OUTBOUND_DATA_ERROR" one,
    PathInfo "PATH_INFO" one,
    QueryString "QUERY_STRING" one,
    RemoteAddr "REMOTE_ADDR" one,
    RemoteHost "REMOTE_HOST" one,
    RemotePort "REMOTE_PORT" one,
    RemoteUser "REMOTE_USER" one,
    ReqbodyError "REQBODY_ERROR" one,
    ReqbodyErrorMsg "REQBODY_ERROR_MSG" one,
    ReqbodyProcessor "REQBODY_PROCESSOR" one,
    ReqbodyProcessorError "REQBODY_PROCESSOR_ERROR" one,
    ReqbodyProcessorErrorMsg "REQBODY_PROCESSOR_ERROR_MSG" one,
    RequestBasename "REQUEST_BASENAME" one,
    RequestBody "REQUEST_BODY" one,
    RequestBodyLength "REQUEST_BODY_LENGTH" one,
    RequestCookies "REQUEST_COOKIES" many,
    RequestCookiesNames "REQUEST_COOKIES_NAMES" many,
    RequestFilename "REQUEST_FILENAME" one,
    RequestHeaders "REQUEST_HEADERS" many,
    RequestHeadersNames "REQUEST_HEADERS_NAMES" many,
    RequestLine "REQUEST_LINE" one,
    RequestMethod "REQUEST_METHOD" one,
    RequestProtocol "REQUEST_PROTOCOL" one,
    RequestUri "REQUEST_URI" one,
    RequestUriRaw "REQUEST_URI_RAW" one,
    Resource "RESOURCE" many,
    ResponseBody "RESPONSE_BODY" one,
    ResponseContentLength "RESPONSE_CONTENT_LENGTH" one,
    ResponseContentType "RESPONSE_CONTENT_TYPE" one,
    ResponseHeaders "RESPONSE_HEADERS" many,
    ResponseHeadersNames "RESPONSE_HEADERS_NAMES" many,
    ResponseProtocol "RESPONSE_PROTOCOL" one,
    ResponseStatus "RESPONSE_STATUS" one,
    Rule "RULE" many,
    ServerAddr "SERVER_ADDR" one,
    ServerName "SERVER_NAME" one,
    ServerPort "SERVER_PORT" one,
    Session "SESSION" many,
    SessionId "SESSIONID" one,
    Time "TIME" one,
    TimeDay "TIME_DAY" one,
    TimeEpoch "TIME_EPOCH" one,
    TimeHour "TIME_HOUR" one,
    TimeMin "TIME_MIN" one,
    TimeMon "TIME_MON" one,
    TimeSec "TIME_SEC" one,
    TimeWday "TIME_WDAY" one,
    TimeYear "TIME_YEAR" one,
    Tx "TX" many,
    UniqueId "UNIQUE_ID" one,
    User "USER" many,
    UserId "USERID" one,
    UrlencodedError "URLENCODED_ERROR" one,
    Xml "XML" many,
}

/// The paths that `XML` takes: the text of the document, and the value of each
/// attribute. They are the names under which the values are found.
pub(crate) const XML_TEXT: &[u8] = b"/*";
pub(crate) const XML_ATTRIBUTES: &[u8] = b"//@*";

/// Variables of ModSecurity that are not here.
const REFUSED: &[&str] = &[
    "ENV",
    "FILES_TMPNAMES",
    "FILES_TMP_CONTENT",
    "GEO",
    "MODSEC_BUILD",
    "SCRIPT_BASENAME",
    "SCRIPT_FILENAME",
    "STATUS_LINE",
    "STREAM_INPUT_BODY",
    "STREAM_OUTPUT_BODY",
    "WEBAPPID",
];

impl Variable {
    /// Whether its values come with a request body; those of `ARGS` may.
    pub(crate) fn is_of_request_body(self) -> bool {
        matches!(
            self,
            Self::ArgsPost
                | Self::ArgsPostNames
                | Self::Files
                | Self::FilesNames
                | Self::MultipartFilename
                | Self::MultipartName
                | Self::MultipartPartHeaders
                | Self::RequestBody
                | Self::Xml
        )
    }

    /// Whether its values are gone with a request body that a transaction gives back.
    pub(crate) fn is_kept_of_request_body(self) -> bool {
        self.is_of_request_body()
            || self.is_of_arguments()
            || matches!(
                self,
                Self::ArgsCombinedSize
                    | Self::FilesSizes
                    | Self::FullRequest
                    | Self::FullRequestLength
            )
    }

    /// Whether its values are those of the query and of a body.
    pub(crate) fn is_of_arguments(self) -> bool {
        matches!(self, Self::Args | Self::ArgsNames)
    }

    /// Whether it tells what the rule that runs has matched.
    pub(crate) fn is_of_matches(self) -> bool {
        matches!(
            self,
            Self::MatchedVar | Self::MatchedVarName | Self::MatchedVars | Self::MatchedVarsNames
        )
    }

    /// Whether its values come with a response.
    pub(crate) fn is_of_response(self) -> bool {
        matches!(
            self,
            Self::ResponseBody | Self::ResponseHeaders | Self::ResponseHeadersNames
        )
    }

    /// Tells whether its values are others only when more of a request or a response
    /// comes, and are worth looking at for all rules at once: what clients and backends send.
    pub(crate) fn is_settled(self) -> bool {
        self.is_of_request_body()
            || self.is_of_arguments()
            || self.is_of_response()
            || matches!(
                self,
                Self::ArgsGet
                    | Self::ArgsGetNames
                    | Self::QueryString
                    | Self::RequestBasename
                    | Self::RequestCookies
                    | Self::RequestCookiesNames
                    | Self::RequestFilename
                    | Self::RequestHeaders
                    | Self::RequestHeadersNames
                    | Self::RequestLine
                    | Self::RequestUri
                    | Self::RequestUriRaw
            )
    }

    /// Finds a variable by its SecLang name, in any case.
    pub(crate) fn find(name: &str) -> Result<Self, Complaint> {
        if let Some(found) = Self::ALL
            .iter()
            .find(|variable| variable.name().eq_ignore_ascii_case(name))
        {
            return Ok(*found);
        }
        if REFUSED.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return Err(Complaint::unsupported("variable", name));
        }
        Err(Complaint::unknown(
            "variable",
            name,
            Self::ALL.iter().map(|variable| variable.name()),
        ))
    }
}
