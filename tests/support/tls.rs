//! HTTPS in front of a plain server, with a certificate of an authority made for the test.
//!
//! Owns: the authority, the certificate of each front, the bytes that go to and fro. A front passes on what it decrypts,
//! so every page, fault and log of [`super::server`] serves HTTPS too. Its threads end with the test process.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::encoding::pem;

/// How long one side is listened to before the other has its turn.
const TURN: Duration = Duration::from_millis(4);

/// A certificate authority that nobody trusts until a test says so.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, as a PEM file has it.
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("randomness");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self {
            pem: pem("CERTIFICATE", certificate.der()),
            issuer: Issuer::new(params, key),
        }
    }

    /// Serves HTTPS for these host names and addresses, and passes everything on to `server`. Returns where it listens.
    pub(crate) fn front(&self, server: SocketAddr, names: &[&str]) -> SocketAddr {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().expect("randomness");
        let params = CertificateParams::new(names).expect("names");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .expect("a certificate and its key");
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on the loopback interface");
        let address = listener.local_addr().expect("a bound socket has an address");
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let config = Arc::clone(&config);
                std::thread::spawn(move || {
                    let secure = ServerConnection::new(config).map_err(io::Error::other)?;
                    stream.set_read_timeout(Some(TURN))?;
                    pass_on(StreamOwned::new(secure, stream), TcpStream::connect(server)?)
                });
            }
        });
        address
    }
}

/// Carries bytes both ways, in turns, until one side ends.
pub(super) fn pass_on(mut client: impl Read + Write, mut server: TcpStream) -> io::Result<()> {
    server.set_read_timeout(Some(TURN))?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match client.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => server.write_all(&buffer[..count])?,
            Err(error) if is_pause(&error) => {}
            Err(error) => return Err(error),
        }
        loop {
            match server.read(&mut buffer) {
                Ok(0) => return client.flush(),
                Ok(count) => client.write_all(&buffer[..count])?,
                Err(error) if is_pause(&error) => break,
                Err(error) => return Err(error),
            }
        }
        client.flush()?;
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}
