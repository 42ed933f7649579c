//! Traces: where they go, and which of them. Variables and forms are those of OpenTelemetry's
//! specification, so that a value that fits other programs fits here.

use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use url::Url;

use super::address::SecretUrl;
use super::problem::{Wrong, quoted};
use super::reader::{Read, Reader};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";

/// Where spans are sent, and which.
#[derive(Debug)]
pub struct TraceSettings {
    /// The address that batches are posted to.
    pub endpoint: SecretUrl,
    /// Headers of each batch, such as a key.
    pub headers: Vec<(String, SecretString)>,
    /// The name of this service. Default `tracera`.
    pub service: String,
    /// What else is true of this process.
    pub attributes: Vec<(String, String)>,
    /// Which traces are kept.
    pub sampling: Sampling,
}

/// Which traces are kept. What a proxy decided is the "parent".
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sampling {
    /// All.
    All,
    /// None.
    None,
    /// This share of them, 0 to 1.
    Share(f64),
    /// As the parent, else all. The default.
    ParentOrAll,
    /// As the parent, else none.
    ParentOrNone,
    /// As the parent, else this share.
    ParentOrShare(f64),
}

/// The settings, or none: there is no collector.
pub(super) fn read(reader: &mut Reader<'_>) -> Read<Option<TraceSettings>> {
    let base = reader.optional(ENDPOINT, |value| parse_endpoint(value, "/v1/traces"));
    let own = reader.optional(TRACES_ENDPOINT, |value| parse_endpoint(value, ""));
    let protocol = reader.read("OTEL_EXPORTER_OTLP_PROTOCOL", |value| match value {
        "http/protobuf" => Ok(()),
        _ => Err(Wrong::new(
            format!("is {}", quoted(value)),
            "write http/protobuf, and the collector's port for it, which is usually 4318",
        )),
    });
    let headers = reader.optional("OTEL_EXPORTER_OTLP_HEADERS", parse_headers);
    let service = reader.read("OTEL_SERVICE_NAME", |value| Ok(value.to_owned()));
    let attributes = reader.optional("OTEL_RESOURCE_ATTRIBUTES", parse_pairs);
    let share = reader.optional("OTEL_TRACES_SAMPLER_ARG", parse_share);
    let share_or_all = share.as_ref().ok().copied().flatten().unwrap_or(1.0);
    let sampling = reader.read("OTEL_TRACES_SAMPLER", |value| match value {
        "always_on" => Ok(Sampling::All),
        "always_off" => Ok(Sampling::None),
        "traceidratio" => Ok(Sampling::Share(share_or_all)),
        "parentbased_always_on" => Ok(Sampling::ParentOrAll),
        "parentbased_always_off" => Ok(Sampling::ParentOrNone),
        "parentbased_traceidratio" => Ok(Sampling::ParentOrShare(share_or_all)),
        _ => Err(Wrong::new(
            format!("is {}", quoted(value)),
            "write parentbased_always_on, parentbased_traceidratio, parentbased_always_off, \
             always_on, traceidratio or always_off",
        )),
    });
    let (base, own, headers, service, attributes, sampling) =
        (base?, own?, headers?, service?, attributes?, sampling?);
    protocol?;
    share?;
    Ok(own.or(base).map(|endpoint| TraceSettings {
        endpoint,
        headers: headers.unwrap_or_default(),
        service,
        attributes: attributes.unwrap_or_default(),
        sampling,
    }))
}

fn parse_endpoint(value: &str, path: &str) -> Result<SecretUrl, Wrong> {
    let remedy = "write an http or https URL such as http://localhost:4318";
    let url = Url::parse(value).map_err(|_| Wrong::new("is not a URL", remedy))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(Wrong::new("is no http address", remedy));
    }
    let base = if path.is_empty() { value } else { value.trim_end_matches('/') };
    Ok(SecretUrl::new(&format!("{base}{path}")))
}

fn parse_share(value: &str) -> Result<f64, Wrong> {
    let share = value.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| {
        Wrong::new(format!("is {}", quoted(value)), "write a share from 0 to 1, such as 0.1")
    })
}

/// `name=value,name=value`, the values percent-encoded.
fn parse_pairs(value: &str) -> Result<Vec<(String, String)>, Wrong> {
    let pairs = value.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
            Some((name.trim().to_owned(), value.into_owned())).filter(|(name, _)| !name.is_empty())
        })
        .collect::<Option<_>>()
        .ok_or_else(|| Wrong::new("is not a list of pairs", "write name=value,name=value"))
}

fn parse_headers(value: &str) -> Result<Vec<(String, SecretString)>, Wrong> {
    let pairs = parse_pairs(value)?;
    let is_header = |(name, value): &(String, String)| {
        HeaderName::from_bytes(name.as_bytes()).is_ok() && HeaderValue::from_str(value).is_ok()
    };
    if !pairs.iter().all(is_header) {
        return Err(Wrong::new("holds what cannot be a header", "write name=value,name=value"));
    }
    Ok(pairs.into_iter().map(|(name, value)| (name, value.into())).collect())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn the_path_of_traces_is_added_to_the_general_address_alone() {
        for (value, path, address) in [
            ("http://localhost:4318", "/v1/traces", "http://localhost:4318/v1/traces"),
            ("https://otlp.example/otlp/", "/v1/traces", "https://otlp.example/otlp/v1/traces"),
            ("https://otlp.example/t/", "", "https://otlp.example/t/"),
        ] {
            assert_eq!(parse_endpoint(value, path).unwrap().expose(), address);
        }
        for value in ["localhost:4318", "grpc://localhost:4317", "4318"] {
            assert!(parse_endpoint(value, "/v1/traces").is_err(), "{value}");
        }
    }

    #[test]
    fn headers_and_attributes_are_percent_encoded_pairs() {
        let headers = parse_headers("api-key=a%20b%3D, x-scope = 1 ").unwrap();
        let shown: Vec<_> =
            headers.iter().map(|(name, value)| (&**name, value.expose_secret())).collect();
        assert_eq!(shown, [("api-key", "a b="), ("x-scope", "1")]);
        assert!(!format!("{headers:?}").contains("a b"));
        for value in ["key", "=value", "a b=c", "key=%0d%0a"] {
            assert!(parse_headers(value).is_err(), "{value}");
        }
        assert_eq!(parse_pairs("").unwrap(), []);
    }

    #[test]
    fn a_share_lies_between_none_and_all() {
        assert_eq!(parse_share("0.25").ok(), Some(0.25));
        for value in ["1.1", "-0.1", "NaN", "half", ""] {
            assert!(parse_share(value).is_err(), "{value}");
        }
    }
}
