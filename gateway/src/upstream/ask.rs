//! One request without a body, and its answer.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::{
    Connection, Connector, Event, Fault, FaultKind, Framing, Patience, RequestLine, Reuse, Target,
};

/// Bytes of an answer's body that are read away so that its connection can be used again.
const MAX_BODY: usize = 64 << 10;

/// A request without a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    /// Method.
    pub method: &'a Method,
    /// Target in origin form.
    pub target: &'a str,
    /// Host.
    pub host: &'a [u8],
    /// Its other fields.
    pub fields: &'a [(HeaderName, HeaderValue)],
    /// Longest silence.
    pub patience: Patience,
    /// Bytes of the answer's body that are kept; with more there is no answer. 0 keeps
    /// none of it, whatever its size.
    pub keep: usize,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    /// Status.
    pub status: u16,
    /// Fields.
    pub headers: HeaderMap,
    /// The body, where it is kept.
    pub body: Bytes,
}

impl Connector {
    /// Asks an endpoint.
    ///
    /// # Errors
    /// When it cannot be asked, or gives no answer.
    pub(crate) async fn ask(
        &self,
        target: &Target<'_>,
        question: Question<'_>,
    ) -> Result<Reply, Fault> {
        let mut reuse = Reuse::Pooled;
        loop {
            let (mut connection, reused) = self.open(target, reuse).await?;
            let answer = ask_on(&mut connection, question).await;
            // One that cannot be used again is closed.
            self.release(connection, target);
            match answer {
                // The endpoint closed a connection that was kept: that says nothing of it.
                Err(fault) if reused && reuse == Reuse::Pooled && closed(&fault) => {
                    reuse = Reuse::Never;
                }
                answer => return answer,
            }
        }
    }
}

fn closed(fault: &Fault) -> bool {
    fault.untouched || fault.kind == FaultKind::Closed
}

async fn ask_on(connection: &mut Connection, question: Question<'_>) -> Result<Reply, Fault> {
    let asked_with_body = question.method == Method::POST || question.method == Method::PUT;
    let line = RequestLine {
        method: question.method,
        target: question.target.as_bytes(),
        authority: question.host,
        framing: match asked_with_body {
            // RFC 9110 section 8.6: a method that has a body says that there is none.
            true => Framing::Length(0),
            false => Framing::None,
        },
        upgrade: false,
    };
    connection.send_head(line, |out| {
        out.put(&header::HOST, b"Host", question.host);
        for (name, value) in question.fields {
            out.put(name, name.as_str().as_bytes(), value.as_bytes());
        }
    })?;
    connection.send_body(Bytes::new(), true);
    let (mut answer, mut read, mut body) = (None, 0, BytesMut::new());
    loop {
        match connection.next(question.patience).await? {
            Event::Progress => {}
            Event::Head { head, .. } if head.status.is_informational() => {}
            Event::Head { head, end } => {
                let found = (head.status.as_u16(), head.headers.clone());
                if end {
                    answer = Some(found);
                    break;
                }
                answer = Some(found);
            }
            Event::Data { bytes, end } => {
                read += bytes.len();
                if question.keep > 0 {
                    if read > question.keep {
                        let reason = format!("more than {} bytes", question.keep);
                        return Err(Fault::new(FaultKind::TooLarge, reason));
                    }
                    body.extend_from_slice(&bytes);
                }
                if end || (question.keep == 0 && read > MAX_BODY) {
                    break;
                }
            }
            Event::Trailers(_) => break,
        }
    }
    let (status, headers) =
        answer.ok_or_else(|| Fault::new(FaultKind::Malformed, "a body without a head"))?;
    Ok(Reply {
        status,
        headers,
        body: body.freeze(),
    })
}
