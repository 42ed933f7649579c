//! The part of the Redis protocol that is needed to tell requests apart.

/// A complete request at the start of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// The command's name in upper case.
    pub(super) command: String,
    /// The request's length in the buffer.
    pub(super) length: usize,
}

/// The request at the start of `buffer`, an array of bulk strings; `None` while it is incomplete.
pub(super) fn next_request(buffer: &[u8]) -> Option<Request> {
    let mut at = 0;
    let arguments = number(buffer, &mut at, b'*')?;
    let mut command = String::new();
    for index in 0..arguments {
        let length = number(buffer, &mut at, b'$')?;
        let argument = buffer.get(at..at + length)?;
        if index == 0 {
            command = String::from_utf8_lossy(argument).to_ascii_uppercase();
        }
        at += length + 2;
    }
    (at <= buffer.len()).then_some(Request { command, length: at })
}

/// The number of complete requests at the start of `buffer`.
pub(super) fn complete_requests(mut buffer: &[u8]) -> usize {
    let mut requests = 0;
    while let Some(request) = next_request(buffer) {
        buffer = &buffer[request.length..];
        requests += 1;
    }
    requests
}

/// Reads `{kind}{number}\r\n` at `at`, and moves behind it.
fn number(buffer: &[u8], at: &mut usize, kind: u8) -> Option<usize> {
    let rest = buffer.get(*at..)?;
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    let digits = std::str::from_utf8(&rest[1..end]).ok().filter(|_| rest[0] == kind);
    let number = digits.and_then(|digits| digits.parse().ok());
    *at += end + 2;
    Some(number.unwrap_or_else(|| panic!("not a Redis request: {}", rest.escape_ascii())))
}

/// A bulk string, or a request's argument.
pub(super) fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_found_only_when_complete_and_ends_where_the_next_begins() {
        let get = b"*2\r\n$3\r\nget\r\n$4\r\na\r\nb\r\n";
        let pipeline = [get.as_slice(), b"*1\r\n$4\r\nPING\r\n"].concat();
        for end in 0..get.len() {
            assert_eq!(next_request(&pipeline[..end]), None, "{end}");
        }
        let request = next_request(&pipeline).unwrap();
        assert_eq!(request, Request { command: "GET".into(), length: get.len() });
        assert_eq!(next_request(&pipeline[request.length..]).unwrap().command, "PING");
        assert_eq!(complete_requests(&pipeline), 2);
        assert_eq!(complete_requests(&pipeline[..pipeline.len() - 1]), 1);
    }
}
