//! An authenticator in software. It makes passkeys and signs with them as browsers do, or forges
//! the data that a test changes.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use serde_json::{Value, json};

/// One passkey, on a device that verifies its user.
pub struct Passkey {
    origin: String,
    key: Key,
    /// The id of the credential.
    pub id: Vec<u8>,
    /// The user handle from the registration.
    pub user_handle: Vec<u8>,
    /// The signature counter. Grows by one with every signature, unless it is 0.
    pub counter: u32,
    /// The model that the authenticator claims to be.
    pub aaguid: [u8; 16],
}

/// The supported algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA on P-256.
    Es256,
    /// Ed25519.
    EdDsa,
    /// RSA of 2048 bits, always the same key.
    Rs256,
}

enum Key {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Rs256(RsaKeyPair),
}

/// A response before it is signed, for tests to change.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The browser's data about the ceremony.
    pub client_data: Value,
    /// The id of the relying party that the authenticator signs for.
    pub rp_id: String,
    /// User present 0x01, user verified 0x04, backup eligible 0x08, backed up 0x10, attested 0x40,
    /// extensions 0x80.
    pub flags: u8,
    /// The signature counter.
    pub counter: u32,
    /// The credential's id in the signed data.
    pub attested_id: Vec<u8>,
    /// The public key of a registration, in COSE form.
    pub cose: Vec<u8>,
    /// Bytes after the authenticator data.
    pub tail: Vec<u8>,
    /// The user handle of a signature; `Null` for none.
    pub user_handle: Value,
}

impl Passkey {
    /// A passkey for pages of this origin, by a device that does not back it up.
    ///
    /// # Panics
    /// If the system gives no random bytes.
    pub fn new(origin: &str) -> Self {
        Self::with(origin, Algorithm::Es256)
    }

    /// Like `new`, with another algorithm.
    ///
    /// # Panics
    /// If the system gives no random bytes.
    pub fn with(origin: &str, algorithm: Algorithm) -> Self {
        let random = SystemRandom::new();
        let key = match algorithm {
            Algorithm::Es256 => {
                let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
                let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
                Key::Es256(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap())
            }
            Algorithm::EdDsa => {
                let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
                Key::EdDsa(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap())
            }
            Algorithm::Rs256 => {
                let pkcs8 = include_bytes!("authenticator/rs256.pk8");
                Key::Rs256(RsaKeyPair::from_pkcs8(pkcs8).unwrap())
            }
        };
        let mut id = vec![0; 32];
        random.fill(&mut id).unwrap();
        let origin = origin.trim_end_matches('/').to_owned();
        Self { origin, key, id, user_handle: Vec::new(), counter: 0, aaguid: [0; 16] }
    }

    /// Responds to `{"publicKey": …}` of a registration, in the form of
    /// `PublicKeyCredential.toJSON()`.
    ///
    /// # Panics
    /// If the options lack what browsers need.
    pub fn register(&mut self, options: &Value) -> Value {
        self.register_forged(options, |_| {})
    }

    /// Like `register`, after `forge` has changed the draft.
    ///
    /// # Panics
    /// If the options lack what browsers need.
    pub fn register_forged(&mut self, options: &Value, forge: impl FnOnce(&mut Draft)) -> Value {
        let options = &options["publicKey"];
        self.user_handle = URL_SAFE_NO_PAD.decode(options["user"]["id"].as_str().unwrap()).unwrap();
        let mut draft = self.draft("webauthn.create", options);
        options["rp"]["id"].as_str().unwrap().clone_into(&mut draft.rp_id);
        draft.flags |= 0x40;
        forge(&mut draft);
        let mut data = draft.authenticator_data();
        if draft.flags & 0x40 != 0 {
            data.extend(self.aaguid);
            data.extend(u16::try_from(draft.attested_id.len()).unwrap().to_be_bytes());
            data.extend(&draft.attested_id);
            data.extend(&draft.cose);
        }
        data.extend(&draft.tail);
        let object =
            [&b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData"[..], &cbor(2, data.len()), &data]
                .concat();
        json!({
            "id": encoded(&self.id), "rawId": encoded(&self.id), "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": { "credProps": { "rk": true } },
            "response": {
                "clientDataJSON": encoded(draft.client_data.to_string()),
                "attestationObject": encoded(object),
                "transports": ["internal", "hybrid"],
            },
        })
    }

    /// Responds to `{"publicKey": …}` of a sign-in, in the form of `PublicKeyCredential.toJSON()`.
    ///
    /// # Panics
    /// If the options lack what browsers need.
    pub fn sign(&mut self, options: &Value) -> Value {
        self.sign_forged(options, |_| {})
    }

    /// Like `sign`, after `forge` has changed the draft.
    ///
    /// # Panics
    /// If the options lack what browsers need.
    pub fn sign_forged(&mut self, options: &Value, forge: impl FnOnce(&mut Draft)) -> Value {
        let options = &options["publicKey"];
        if self.counter > 0 {
            self.counter += 1;
        }
        let mut draft = self.draft("webauthn.get", options);
        options["rpId"].as_str().unwrap().clone_into(&mut draft.rp_id);
        forge(&mut draft);
        let mut data = draft.authenticator_data();
        data.extend(&draft.tail);
        let client_data = draft.client_data.to_string();
        let signed = [&*data, digest(&SHA256, client_data.as_bytes()).as_ref()].concat();
        json!({
            "id": encoded(&self.id), "rawId": encoded(&self.id), "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": {
                "clientDataJSON": encoded(client_data),
                "authenticatorData": encoded(data),
                "signature": encoded(self.signature(&signed)),
                "userHandle": draft.user_handle,
            },
        })
    }

    fn draft(&self, ceremony: &str, options: &Value) -> Draft {
        Draft {
            client_data: json!({
                "type": ceremony,
                "challenge": options["challenge"],
                "origin": self.origin,
                "crossOrigin": false,
            }),
            rp_id: String::new(),
            flags: 0x01 | 0x04,
            counter: self.counter,
            attested_id: self.id.clone(),
            cose: self.cose(),
            tail: Vec::new(),
            user_handle: Value::from(encoded(&self.user_handle)),
        }
    }

    /// The public key in COSE form.
    pub fn cose(&self) -> Vec<u8> {
        match &self.key {
            Key::Es256(key) => {
                let point = key.public_key().as_ref();
                let (x, y) = point[1..].split_at(32);
                [b"\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20", x, b"\x22\x58\x20", y].concat()
            }
            Key::EdDsa(key) => {
                let key = key.public_key().as_ref();
                [b"\xa4\x01\x01\x03\x27\x20\x06\x21\x58\x20", key].concat()
            }
            Key::Rs256(key) => {
                let RsaPublicKeyComponents { n: modulus, e: exponent } =
                    RsaPublicKeyComponents::<Vec<u8>>::from(key.public());
                [
                    &b"\xa4\x01\x03\x03\x39\x01\x00\x20"[..],
                    &cbor(2, modulus.len()),
                    &modulus,
                    &b"\x21"[..],
                    &cbor(2, exponent.len()),
                    &exponent,
                ]
                .concat()
            }
        }
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.key {
            Key::Es256(key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Key::EdDsa(key) => key.sign(message).as_ref().to_vec(),
            Key::Rs256(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }
}

impl Draft {
    fn authenticator_data(&self) -> Vec<u8> {
        let mut data = digest(&SHA256, self.rp_id.as_bytes()).as_ref().to_vec();
        data.push(self.flags);
        data.extend(self.counter.to_be_bytes());
        data
    }
}

/// The head of a CBOR item.
fn cbor(major: u8, argument: usize) -> Vec<u8> {
    let major = major << 5;
    match u16::try_from(argument).unwrap() {
        small @ 0..=23 => vec![major | u8::try_from(small).unwrap()],
        byte @ 24..=255 => vec![major | 0x18, u8::try_from(byte).unwrap()],
        two => [&[major | 0x19], &two.to_be_bytes()[..]].concat(),
    }
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
