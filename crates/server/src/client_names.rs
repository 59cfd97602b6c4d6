//! Whose certificate is taken, among all that an authority has signed: that of a cluster signs one for every kubelet.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use std::net::IpAddr;
use std::sync::Arc;
use webpki::EndEntityCert;

/// Takes of what another verifier takes only certificates with one of these names.
#[derive(Debug)]
pub(crate) struct OnlyNamed {
    verifier: Arc<dyn ClientCertVerifier>,
    names: Vec<String>,
}

impl OnlyNamed {
    /// `names`: common names, or subject alternative names (DNS, URI, IP address), each as it stands in a certificate.
    pub fn new(verifier: Arc<dyn ClientCertVerifier>, names: Vec<String>) -> Self {
        Self { verifier, names }
    }
}

impl ClientCertVerifier for OnlyNamed {
    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.verifier.verify_client_cert(own, between, now)?;
        if has(own, &self.names) {
            return Ok(verified);
        }
        let names = EndEntityCert::try_from(own).map(|own| common_names(own.subject())).unwrap_or_default();
        tracing::warn!(common_names = ?names, "a client is not let in: its certificate has none of the names that are");
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn offer_client_auth(&self) -> bool {
        self.verifier.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.verifier.client_auth_mandatory()
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Whether a certificate, which has been verified, has one of these names.
fn has(certificate: &CertificateDer<'_>, wanted: &[String]) -> bool {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else { return false };
    let common = common_names(certificate.subject());
    let names = certificate.valid_dns_names().chain(certificate.valid_uri_names());
    let mut names = names.chain(common.iter().map(String::as_str));
    let is_wanted = |name: &str| wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(name));
    let has_address = |name: &String| {
        let address = name.parse::<IpAddr>().map(ServerName::from);
        address.is_ok_and(|address| certificate.verify_is_valid_for_subject_name(&address).is_ok())
    };
    names.any(is_wanted) || wanted.iter().any(has_address)
}

/// `id-at-commonName`, 2.5.4.3, as DER (RFC 5280, appendix A).
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// Tags of DER: object identifier, sequence, set.
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// Tags of strings that are UTF-8 or a part of it: `UTF8String`, `PrintableString`, `IA5String`.
const TEXT: [u8; 3] = [0x0c, 0x13, 0x16];

/// The common names of a subject: a sequence, whose own head is not in `subject`, of sets of pairs of an identifier and a value. webpki
/// leaves common names out, since they name no server; Kubernetes names users by them.
fn common_names(subject: &[u8]) -> Vec<String> {
    let pairs = Elements(subject).filter(|(tag, _)| *tag == SET).flat_map(|(_, set)| Elements(set));
    let common = pairs.filter(|(tag, _)| *tag == SEQUENCE).filter_map(|(_, pair)| {
        let mut pair = Elements(pair);
        pair.next().filter(|first| *first == (OID, COMMON_NAME))?;
        let (_, text) = pair.next().filter(|(tag, _)| TEXT.contains(tag))?;
        Some(std::str::from_utf8(text).ok()?.to_owned())
    });
    common.collect()
}

/// Elements of DER that follow each other, as tag and content; it ends at the first one that is not whole.
struct Elements<'a>(&'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        // Below 128 it is the length, else how many bytes the length has.
        let (length, rest) = if *first < 0x80 {
            (usize::from(*first), rest)
        } else {
            let (bytes, rest) = rest.split_at_checked(usize::from(*first & 0x7f))?;
            (bytes.iter().try_fold(0_usize, |all, byte| Some(all.checked_mul(256)? + usize::from(*byte)))?, rest)
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
    use rustls::RootCertStore;
    use rustls::server::WebPkiClientVerifier;

    struct Authority(Issuer<'static, KeyPair>, CertificateDer<'static>);

    fn authority() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let own = params.self_signed(&key).expect("signed").der().clone();
        Authority(Issuer::new(params, key), own)
    }

    fn signed(by: &Authority, common: Option<&str>, alternative: &[SanType]) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        common.into_iter().for_each(|name| params.distinguished_name.push(DnType::CommonName, name));
        params.subject_alt_names = alternative.to_vec();
        let key = KeyPair::generate().expect("a key");
        params.signed_by(&key, &by.0).expect("signed").der().clone()
    }

    #[test]
    fn of_one_authority_only_those_with_a_name_are_let_in() {
        let (known, other) = (authority(), authority());
        let mut roots = RootCertStore::empty();
        roots.add(known.1.clone()).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().expect("a verifier");
        let wanted = ["system:kube-scheduler", "berth.example", "spiffe://cluster/ns/berth/sa/x", "10.0.0.7"];
        let only = OnlyNamed::new(verifier, wanted.map(str::to_owned).to_vec());
        let takes =
            |certificate: CertificateDer<'_>| only.verify_client_cert(&certificate, &[], UnixTime::now()).is_ok();
        let dns = |name: &str| SanType::DnsName(name.try_into().expect("a name"));
        assert!(takes(signed(&known, Some("system:kube-scheduler"), &[])));
        assert!(takes(signed(&known, Some("else"), &[dns("x.example"), dns("Berth.example")])));
        let uri = SanType::URI("spiffe://cluster/ns/berth/sa/x".try_into().expect("a name"));
        assert!(takes(signed(&known, None, &[uri])));
        assert!(takes(signed(&known, None, &[SanType::IpAddress([10, 0, 0, 7].into())])));
        // A kubelet's is signed by the same authority.
        assert!(!takes(signed(&known, Some("system:node:worker-1"), &[dns("worker-1")])));
        assert!(!takes(signed(&known, Some("system:kube-scheduler2"), &[])));
        assert!(!takes(signed(&known, None, &[])));
        assert!(!takes(signed(&other, Some("system:kube-scheduler"), &[])), "another authority's");
    }

    #[test]
    fn common_names_are_read_from_der_and_what_is_cut_off_is_left_out() {
        // SET { SEQUENCE { OID 2.5.4.10, UTF8String "o" } }, SET { SEQUENCE { OID 2.5.4.3, PrintableString "cn" } }, by hand.
        let organisation = [0x31, 0x0a, 0x30, 0x08, 0x06, 0x03, 0x55, 0x04, 0x0a, 0x0c, 0x01, b'o'];
        let common = [0x31, 0x0b, 0x30, 0x09, 0x06, 0x03, 0x55, 0x04, 0x03, 0x13, 0x02, b'c', b'n'];
        let subject = [&organisation[..], &common[..]].concat();
        assert_eq!(common_names(&subject), ["cn"]);
        for length in 0..subject.len() {
            assert!(common_names(&subject[..length]).is_empty(), "{length}");
        }
        // A length in its long form, and one that no memory has.
        let long = [&[0x31, 0x81, 0x0b][..], &common[2..]].concat();
        assert_eq!(common_names(&long), ["cn"]);
        assert!(
            common_names(&[0x31, 0xff, 0xff]).is_empty()
                && common_names(&[0x31, 0x89, 1, 0, 0, 0, 0, 0, 0, 0, 0]).is_empty()
        );
    }
}
