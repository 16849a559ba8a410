//! Certificates: the server's own, read again when they change, and those that it trusts when it dials.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Files of a server's certificate chain and key, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The chain, the server's own certificate first.
    pub chain: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file is missing, or no PEM.
    #[error("cannot read {}", .0.display())]
    File(PathBuf, #[source] rustls::pki_types::pem::Error),
    /// Certificate and key do not fit, or are of a kind that is not spoken.
    #[error("the certificate cannot be used")]
    Certificate(#[from] rustls::Error),
    /// The system has no certificates to trust.
    #[error("no trusted certificates; name a file of them")]
    NoRoots,
}

/// Places where systems keep the certificates that they trust.
const ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |error| TlsError::File(path.into(), error);
    CertificateDer::pem_file_iter(path).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)
}

impl Certificate {
    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let chain = read_chain(&self.chain)?;
        let key = PrivateKeyDer::from_pem_file(&self.key);
        let key = key.map_err(|error| TlsError::File(self.key.clone(), error))?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// When the files were last changed; to be compared with later.
    pub(crate) fn changed(&self) -> io::Result<(SystemTime, SystemTime)> {
        let changed = |path: &Path| std::fs::metadata(path)?.modified();
        Ok((changed(&self.chain)?, changed(&self.key)?))
    }
}

/// Makes what dials over TLS: trusts the certificates of a file, or the system's.
pub(crate) fn connector(roots: Option<&Path>) -> Result<TlsConnector, TlsError> {
    let system = || ROOTS.iter().map(Path::new).find(|path| path.exists());
    let chain = read_chain(roots.or_else(system).ok_or(TlsError::NoRoots)?)?;
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(chain);
    if added == 0 {
        return Err(TlsError::NoRoots);
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
