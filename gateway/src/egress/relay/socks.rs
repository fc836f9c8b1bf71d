//! A client of the relay that speaks SOCKS5: its CONNECT becomes one of HTTP, which has a place
//! for the token.

use std::io;

use bytes::BytesMut;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{Shared, tunnel};
use crate::{
    egress::socks::{ask, code_of, reply, reply_of},
    listen::within,
};

/// Serves a client until its one tunnel ends, or it is refused.
pub(super) async fn serve(
    mut client: TcpStream,
    mut buffer: BytesMut,
    shared: &Shared,
) -> io::Result<()> {
    let asked = within(shared.limits.head_timeout, ask(&mut client, &mut buffer)).await?;
    let answer = match asked {
        Err(bad) => bad.answer,
        Ok(authority) => match tunnel::ask(shared, &authority).await {
            Err(refusal) => reply_of(code_of(refusal.status, refusal.reason)).to_vec(),
            Ok(answer) if answer.is_open() => {
                client.write_all(&reply_of(reply::SUCCEEDED)).await?;
                return answer.carry(&mut client, buffer, shared).await;
            }
            Ok(answer) => reply_of(code_of(answer.status, &answer.reason)).to_vec(),
        },
    };
    client.write_all(&answer).await?;
    client.shutdown().await
}
