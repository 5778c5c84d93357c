//! One connection: reads requests, answers them, and breaks off where a fault says so.

use std::fmt::Write as _;
use std::io::{self, BufReader, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::fault::{self, Delivery, End, Framing};
use super::http::{Response, read_request, reason};
use super::{Shared, content, lock};

/// Whether the connection can take another request.
#[derive(PartialEq, Eq)]
enum Next {
    Request,
    Nothing,
}

/// Serves a connection until it ends, whoever ends it.
pub(super) fn serve(stream: &TcpStream, shared: &Shared) {
    let _nagle = stream.set_nodelay(true);
    let Ok(mut reader) = stream.try_clone().map(BufReader::new) else {
        return;
    };
    // Errors here are the client's going away, which is its right.
    while let Ok(Some(mut request)) = read_request(&mut reader) {
        let hits = fault::hits(&mut lock(&shared.faults), &request);
        let mut response = content::answer(shared, &fault::blind(&request, &hits));
        let delivery = fault::apply(hits, &request, &shared.base, &mut response);
        let head_only = request.method == "HEAD";
        let closing = request
            .header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"));
        request.status = if matches!(delivery.end, End::StallBeforeHead) {
            0
        } else {
            response.status
        };
        // Logged before it is answered: who has the answer finds the request in the log.
        lock(&shared.log).push(request);
        match send(stream, shared, &response, &delivery, head_only) {
            Ok(Next::Request) if !closing => {}
            _ => break,
        }
    }
    let _closed = stream.shutdown(Shutdown::Both);
}

fn send(
    mut stream: &TcpStream,
    shared: &Shared,
    response: &Response,
    delivery: &Delivery,
    head_only: bool,
) -> io::Result<Next> {
    if matches!(delivery.end, End::StallBeforeHead) {
        return stall(stream, shared);
    }
    stream.write_all(head(response, delivery).as_bytes())?;
    if head_only || response.status == 304 {
        return Ok(Next::Request);
    }
    let body = &response.body[response.part.clone()];
    let (shown, end) = match delivery.end {
        End::Truncate(at) | End::Reset(at) | End::Stall(at) if at < body.len() => (&body[..at], delivery.end),
        // The fault lies behind the end of a short body: this answer goes through.
        _ => (body, End::Whole),
    };
    write_body(stream, shared, shown, delivery)?;
    match end {
        End::Whole => match delivery.framing {
            Framing::Chunked => stream.write_all(b"0\r\n\r\n").map(|()| Next::Request),
            Framing::Length => Ok(Next::Request),
            Framing::Close => Ok(Next::Nothing),
        },
        End::Truncate(_) => Ok(Next::Nothing),
        End::Reset(_) => reset(stream),
        End::Stall(_) | End::StallBeforeHead => stall(stream, shared),
    }
}

fn head(response: &Response, delivery: &Delivery) -> String {
    let mut head = format!("HTTP/1.1 {} {}\r\n", response.status, reason(response.status));
    for (name, value) in &response.headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let _ = match delivery.framing {
        Framing::Length => write!(head, "Content-Length: {}\r\n\r\n", response.part.len()),
        Framing::Chunked => write!(head, "Transfer-Encoding: chunked\r\n\r\n"),
        Framing::Close => write!(head, "Connection: close\r\n\r\n"),
    };
    head
}

fn write_body(mut stream: &TcpStream, shared: &Shared, body: &[u8], delivery: &Delivery) -> io::Result<()> {
    const STEPS_PER_SECOND: u64 = 20;
    let step = match delivery.bytes_per_second {
        Some(rate) => usize::try_from(rate.div_ceil(STEPS_PER_SECOND))
            .unwrap_or(usize::MAX)
            .max(1),
        None => 64 * 1024,
    };
    for piece in body.chunks(step) {
        if delivery.framing == Framing::Chunked {
            stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
        }
        stream.write_all(piece)?;
        if delivery.framing == Framing::Chunked {
            stream.write_all(b"\r\n")?;
        }
        if let Some(rate) = delivery.bytes_per_second {
            let nanoseconds = piece.len() as u64 * 1_000_000_000 / rate.max(1);
            std::thread::sleep(Duration::from_nanos(nanoseconds));
            if shared.stopping.load(Ordering::SeqCst) {
                return Err(io::Error::other("the server is stopping"));
            }
        }
    }
    Ok(())
}

/// Ends the connection with a reset.
///
/// Closing with lingering off would do it too, but only when the last descriptor of the socket goes, and there are
/// several. Dissolving the association resets at once.
fn reset(stream: &TcpStream) -> io::Result<Next> {
    // What was written is given a moment to reach the reader, which the reset would overtake.
    std::thread::sleep(Duration::from_millis(30));
    rustix::net::connect_unspec(stream)?;
    Ok(Next::Nothing)
}

/// Holds the connection open until the client or the server gives up.
fn stall(stream: &TcpStream, shared: &Shared) -> io::Result<Next> {
    stream.set_read_timeout(Some(Duration::from_millis(20)))?;
    let mut byte = [0; 1];
    while !shared.stopping.load(Ordering::SeqCst) {
        match stream.peek(&mut byte) {
            Ok(0) => break,
            Ok(_) => std::thread::sleep(Duration::from_millis(20)),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Next::Nothing)
}
